"""A voice on real calls: the server as it is run, with a calibration that its own command made, and a
telephone that speaks over SIP and RTP. What comes of it is a word at the desk, and no proof."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import expect

from conftest import Open, screenshot
from helpers import Http, binary, environment, free_port, until
from installation import World
from terminal import Terminal
from voice_world import again, people, person, said, write

MAYA = "+12025550171"


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured as the documentation says, on calls of twelve people."""
    folder = tmp_path_factory.mktemp("calls")
    out = folder / "voice-calibration.json"
    made = subprocess.run(  # noqa: S603
        [binary(), "voice", "calibrate", str(people(folder / "people")), "--false-accepts", "5%", "--condition", "tests", "--out", str(out)],
        capture_output=True, text=True, timeout=300, check=False, env=environment(),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return out


@dataclass
class Office:
    """A server that listens, its lead, and the address of its line."""

    world: World
    address: str
    lead: Http
    folder: Path
    terminals: list[Terminal] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def next_call(self) -> str:
        """The call that was not there before."""
        def new() -> str | None:
            listed = re.findall(r"/admin/calls/(call_[0-9a-f]{32})", self.lead.get("/admin").text)
            return next((call for call in listed if call not in self.calls), None)

        self.calls.append(until("the call is on the lead's page", new))
        return self.calls[-1]

    def story(self, call: str) -> str:
        return self.lead.get(f"/admin/calls/{call}").text

    def take(self, number: int, seed: int) -> str:
        """What a telephone says: one of the people, once more."""
        return f"@{write(self.folder / f'{number}-{seed}.wav', again(person(number), seed))}"

    def digits(self, digits: list[int], seed: int) -> str:
        return f"@{write(self.folder / f'digits-{seed}.wav', said(digits, seed))}"


@pytest.fixture
def office(tmp_path: Path, calibration: Path) -> Iterator[Office]:
    port = free_port(socket.SOCK_DGRAM)
    more = f"""
[sip]
listen = "127.0.0.1:{port}"
peers = ["127.0.0.0/8"]
national = "+1"

[voice]
calibration = "{calibration}"
consent_text = "2026-11"
digits = true
"""
    world = World(tmp_path / "world", more)
    kim = world.installation.add_agent("kim", "lead", "a lead of many words")
    lead = Http(world.server.url)
    assert lead.post("/desk/sign-in", {"name": "kim", "password": "a lead of many words", "code": kim.now()}).status == 303
    one = Office(world, f"sip:+12025550100@127.0.0.1:{port}", lead, tmp_path)
    yield one
    for terminal in one.terminals:
        terminal.close()
    world.close()


def panel(desk: Http, call: str) -> str:
    return desk.get(f"/desk/call/{call}/panel").text


def into_the_queue(office: Office, robin: Http) -> tuple[Terminal, str]:
    """Maya calls, proves who she is with the code that is texted to her, and waits until Robin takes the call."""
    texts = len(office.world.twilio.texts(MAYA))
    maya = Terminal(office.address, MAYA)
    office.terminals.append(maya)
    until("it is answered", lambda: "Answered after" in maya.text)
    code = until("a code is texted", lambda: [m for m in office.world.twilio.texts(MAYA)[texts:] if re.search(r"code \d{6}\.", m["Body"])])[0]
    found = re.search(r"code (\d{6})\.", code["Body"])
    assert found
    maya.key(f"{found[1]}#")
    call = office.next_call()
    until("she has proved it", lambda: "Proved: " in office.story(call))
    maya.key("2")
    until("she waits", lambda: call in robin.get("/desk/list").text)
    assert robin.act(call, "accept").status == 200
    return maya, call


def says(maya: Terminal, take: str, tones: int) -> None:
    """After the tone, and not before."""
    until(f"the tone for take {tones}", lambda: maya.text.count("… a tone") >= tones, seconds=40)
    maya.key(take)


def asked_for(maya: Terminal, tones: int) -> list[int]:
    """The digits that were said before this tone, as her telephone has recognised them."""
    row = [line for line in maya.text.split("… a tone")[tones - 1].splitlines() if re.fullmatch(r" *\d( \d){4}", line)]
    assert row, f"no digits before tone {tones}"
    return [int(digit) for digit in row[-1].split()]


def says_digits(office: Office, maya: Terminal, tones: int, over: Callable[[], bool], other: int = 0) -> None:
    """Answers every question for digits from this tone on, until it is over: what is not understood is asked for again."""
    while True:
        until("digits are asked for, or it is over", lambda: maya.text.count("… a tone") >= tones or over(), seconds=60)
        if maya.text.count("… a tone") < tones:
            return
        maya.key(office.digits([(digit + other) % 10 for digit in asked_for(maya, tones)], len(office.calls) * 100 + tones))
        tones += 1


def test_a_caller_consents_says_a_phrase_three_times_and_is_compared_on_another_call(office: Office, open_browser: Open, shots: Path) -> None:
    robin = office.world.sign_in()
    maya, call = into_the_queue(office, robin)
    assert "voice-enrol" not in panel(robin, call), "one proof is not enough"
    robin.act(call, "prove", action="change:address", factors="pin")
    until("a PIN is asked for", lambda: "Please enter your PIN." in maya.text)
    maya.key("6402#")
    until("she is strong", lambda: 'data-level="strong"' in panel(robin, call))

    # The agent asks, on the page; the caller consents, on her telephone.
    context = open_browser(office.world.server.url)
    context.add_cookies([{"name": name, "value": value, "url": office.world.server.url} for name, value in robin.cookies.items()])
    page = context.new_page()
    page.goto(f"{office.world.server.url}/desk")
    page.get_by_role("button", name="Ask whether the voice may be kept").click()
    expect(page.locator("#call")).to_contain_text("being asked whether the voice may be kept")
    maya.key("1")
    expect(page.locator("#call")).to_contain_text("You hear nothing; stay on the line")
    for n, seed in enumerate([1, 2, 3], start=1):
        says(maya, office.take(0, seed), n)
    # Each digit three times, in six rows.
    says_digits(office, maya, 4, lambda: "How the voice says digits is on file." in office.story(call))
    expect(page.get_by_role("button", name="Compare the voice")).to_be_visible(timeout=60_000)
    notice = until("she is told", lambda: [m for m in office.world.twilio.texts(MAYA) if "voice" in m["Body"]], seconds=30)
    assert "https://" in notice[0]["Body"]
    assert robin.act(call, "end").status == 200
    maya.over()

    # Another day: the same voice, then with digits of another day, then somebody else.
    words = []
    for seed, number, other in [(9, 0, 0), (12, 0, 3), (11, 1, 0)]:
        maya, call = into_the_queue(office, robin)
        page.goto(f"{office.world.server.url}/desk")
        page.get_by_role("button", name="Compare the voice").click()
        says(maya, office.take(number, seed), 1)
        word = page.locator("#voice b")
        says_digits(office, maya, 2, lambda: "You hear nothing" not in page.locator("#call").inner_text(), other)
        expect(word).to_be_visible(timeout=60_000)
        words.append(word.inner_text())
        expect(page.locator("#call")).to_have_attribute("data-level", "authenticated")
        if not words[1:]:
            for name, size, scheme in [("desk-voice-light", (1440, 900), "light"), ("desk-voice-dark", (380, 900), "dark")]:
                page.set_viewport_size({"width": size[0], "height": size[1]})
                page.emulate_media(color_scheme=scheme)
                screenshot(page, shots / f"{name}.png")
            page.set_viewport_size({"width": 1440, "height": 900})
        assert robin.act(call, "end").status == 200
        maya.over()
    assert words == ["alike", "could not be compared", "not alike"]
    events = office.world.installation.run("audit", "export").stdout

    def came_of(kind: str, call: str = "") -> list[str]:
        about = [line for line in events.splitlines() if f'"type":"{kind}"' in line and call.removeprefix("call_") in line]
        return [outcome for line in about for outcome in re.findall(r'"outcome":"(\w+)"', line)]

    outcomes = came_of("voice_compared")
    assert outcomes[:2] == ["alike", "alike"] and outcomes[2] in ("unlike", "other_words"), outcomes
    hers, of_another_day = (came_of("digits_checked", call) for call in office.calls[1:3])
    assert hers[-1] == "alike" and of_another_day == ["other_digits"] * 2, (hers, of_another_day)
    assert came_of("digits_checked", office.calls[3]), "whatever the phrase came to"
    assert '"type":"voice_enrolled"' in events
    # Nothing of what she said is anywhere but sealed.
    assert b"CSVT" not in office.world.stored()

    context.clear_cookies()
    context.add_cookies([{"name": name, "value": value, "url": office.world.server.url} for name, value in office.lead.cookies.items()])
    page.goto(f"{office.world.server.url}/admin/risk")
    table = page.get_by_role("region", name="Voices by month")
    expect(table.get_by_text("too few to say")).to_be_visible()
    screenshot(page, shots / "risk-voices.png")
