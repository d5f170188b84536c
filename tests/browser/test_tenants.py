"""Two companies under one desk: one process, an agent in a real browser who takes calls of both, and
a company's own words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pyotp
import pytest
from playwright.sync_api import expect

from conftest import Open, keep_words, screenshot
from helpers import Http, Program, Reply, command, free_port, until
from installation import CUSTOMERS, Installation
from twilio.request_validator import RequestValidator
from twilio_world import TOKEN, Caller, FakeTwilio

MAYA, TOMASZ = "+12025550171", "+12025550172"
PASSWORD = "correct horse battery"


class At(Http):
    """A client that asks for a name and reaches this machine."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.name, port = self.host, urlsplit(url).port
        self.host = f"127.0.0.1:{port}"

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        return super().request(method, path, body, {"Host": self.name} | (headers or {}))


class CallerOf(Caller):
    """Somebody who calls one of the companies."""

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        if signature is None:
            signature = RequestValidator(TOKEN).compute_signature(self.public_url + path, form)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
        return At(self.address).request("POST", path, urlencode(form).encode(), headers)


@dataclass
class Street:
    """The desk and its companies, as they are configured."""

    desk: Installation
    juniper: Installation
    maple: Installation
    urls: dict[str, str]
    twilio: FakeTwilio
    totp: pyotp.TOTP
    program: Program | None = None

    def serve(self, folder: Path) -> Program:
        self.program = Program(folder, "serve", "--config", self.desk.config)
        self.program.wait_for(r'.*"message":"serving".*"companies":3.*', self.program.err)
        return self.program

    def call(self, company: str, number: str) -> CallerOf:
        return CallerOf(self.urls[company], self.urls[company], number)


@pytest.fixture
def street(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Street]:
    twilio, port = FakeTwilio(), free_port()
    # Three names of this machine, so that no certificate is needed.
    urls = {name: f"http://{host}:{port}" for name, host in (("desk", "localhost"), ("juniper", "127.0.0.1"), ("maple", "[::1]"))}
    made: dict[str, Installation] = {}
    for name, company in (("desk", "Northdesk"), ("juniper", "Juniper & Co"), ("maple", "Maple Telecom")):
        made[name] = one = Installation(tmp_path / name, twilio.url)
        text = one.config.read_text().replace("https://calls.example.com", urls[name]).replace("Hearth & Home", company)
        text = text.replace("127.0.0.1:0", f"127.0.0.1:{port}")
        if name == "desk":
            # A desk needs no telephone of its own.
            text = text[: text.index("[twilio]\n")]
            text += "".join(f'\n[[tenants]]\nname = "{tenant}"\nconfig = "{made_at(tmp_path, tenant)}"\n' for tenant in ("juniper", "maple"))
        one.config.write_text(text)
    for name in ("juniper", "maple"):
        done = made[name].run("import", made[name].customers(CUSTOMERS))
        assert done.returncode == 0, done.stderr
    words = tmp_path / "words"
    (words / "en").mkdir(parents=True)
    (words / "en" / "voice.ftl").write_text("welcome = Maple here, the sweet side of { $company }.\n")
    maple = made["maple"].config
    maple.write_text(maple.read_text().replace("[listen]", f'words = "{words}"\n\n[listen]', 1))
    totp = made["desk"].add_agent("uma", "agent", PASSWORD)
    s = Street(made["desk"], made["juniper"], made["maple"], urls, twilio, totp)
    yield s
    if s.program:
        s.program.stop()
        keep_words(request, s.program)
    twilio.close()


def made_at(folder: Path, tenant: str) -> Path:
    return folder / tenant / "etc" / "countersign.toml"


def test_one_agent_takes_the_calls_of_two_companies(street: Street, open_browser: Open, shots: Path, tmp_path: Path) -> None:
    said = street.desk.run("doctor")
    assert said.returncode == 0 and said.stdout.count("is not https") == 3, said.stdout
    wrong = street.desk.run("agent", "serve", "uma", "oak")
    assert wrong.returncode == 1 and "juniper, maple" in wrong.stderr, wrong.stderr
    for tenant in ("juniper", "maple"):
        assert street.desk.run("agent", "serve", "uma", tenant).returncode == 0
    street.serve(tmp_path / "run")
    calls = {"juniper": street.call("juniper", MAYA), "maple": street.call("maple", TOMASZ)}
    for caller in calls.values():
        asked = caller.arrive()
        for _ in range(4):
            if "An agent will be with you" in asked.words or "Mitarbeiter" in asked.words:
                break
            asked = caller.key("0" if "PIN" not in asked.words else "*")
    context = open_browser(street.urls["desk"])
    context.complaints.expected.append("status of 404")
    page = context.new_page()
    page.goto(f"{street.urls['desk']}/desk")
    page.get_by_label("Name").fill("uma")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill(street.totp.now())
    page.get_by_role("button", name="Sign in").click()
    queue = page.get_by_role("region", name="Waiting")
    expect(queue.get_by_text("Juniper & Co")).to_be_visible()
    expect(queue.get_by_text("Maple Telecom")).to_be_visible()
    screenshot(page, shots / "tenants-queue.png")
    page.get_by_role("button", name="for Maple Telecom").click()
    expect(page.get_by_text("You answer for Maple Telecom")).to_be_visible()
    screenshot(page, shots / "tenants-call.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    screenshot(page, shots / "tenants-call-phone-dark.png")
    # Each company has its own half in its own record.
    for company, other in (("juniper", "maple"), ("maple", "juniper")):
        mine = getattr(street, company).run("audit", "export").stdout
        theirs = getattr(street, other).run("audit", "export").stdout
        streams = {line.split('"stream":"')[1].split('"')[0] for line in mine.splitlines() if '"stream":"call/' in line}
        assert len(streams) == 1 and not any(stream in theirs for stream in streams)
    assert '"type":"accepted"' in street.maple.run("audit", "export").stdout
    assert '"type":"accepted"' not in street.juniper.run("audit", "export").stdout
    # Taken away: gone with the next click, in mid call.
    assert street.desk.run("agent", "leave", "uma", "maple").returncode == 0
    page.reload()
    expect(page.get_by_text("Nothing here")).to_be_visible()
    page.goto(f"{street.urls['desk']}/desk")
    expect(page.get_by_text("Maple Telecom")).to_have_count(0)


def test_each_company_speaks_with_its_own_words(street: Street, tmp_path: Path) -> None:
    street.serve(tmp_path / "run")
    heard = {company: street.call(company, MAYA).arrive().words for company in ("juniper", "maple")}
    assert "Juniper & Co" in heard["juniper"] and "Maple" not in heard["juniper"], heard
    assert "Maple here, the sweet side of Maple Telecom." in heard["maple"] and "Juniper" not in heard["maple"], heard
    # Who asks for no company's name is nobody's customer.
    stranger = At(street.urls["desk"])
    stranger.name = "calls.example.org"
    assert stranger.get("/desk/sign-in").status == 421
    assert stranger.get("/readyz").text == "ready\n"
    assert At(street.urls["juniper"]).get("/metrics").status == 200


def test_what_cannot_be_served_together_says_so(street: Street, tmp_path: Path) -> None:
    config = street.desk.config
    good = config.read_text()

    def refused(text: str, **env: str) -> str:
        config.write_text(text)
        said = command("serve", "--config", config, **env)
        assert said.returncode == 1 and "panicked" not in said.stderr, said.stderr
        config.write_text(good)
        return said.stderr

    assert "each name once" in refused(good.replace('name = "maple"', 'name = "juniper"'))
    assert "letters, digits or dashes" in refused(good.replace('name = "maple"', 'name = "../maple"'))
    assert "a host of its own" in refused(good.replace(street.urls["desk"], street.urls["maple"]))
    assert "cannot read" in refused(good.replace(str(street.maple.config), str(tmp_path / "nowhere.toml")))
    assert "tenants of its own" in refused(good.replace(str(street.maple.config), str(config)))
    assert "COUNTERSIGN_KEY is set" in refused(good, COUNTERSIGN_KEY="0" * 64)
    # One master key for two records.
    other = street.maple.config.read_text()
    keys = [line for line in street.juniper.config.read_text().splitlines() if line.startswith("file = ")]
    street.maple.config.write_text("\n".join(keys[0] if line.startswith("file = ") else line for line in other.splitlines()))
    said = refused(good)
    assert "same master key as juniper" in said or "does not open this record" in said, said
    # A company's words that leave out a value.
    words = tmp_path / "words" / "en" / "text.ftl"
    words.write_text("sms-code = Here it comes.\n")
    street.maple.config.write_text(other)
    assert "company.words" in refused(good)
    assert until("doctor says the same", lambda: "company.words" in street.desk.run("doctor").stdout)
