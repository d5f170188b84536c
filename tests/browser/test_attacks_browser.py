"""What other websites, other agents and people without a session try. A real browser, because half
of the defence is the browser's."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from conftest import Desk, Open
from helpers import ANA_SECRETS, Demo, Http, Phone, Stream, none_of, queued, until


class Evil:
    """Another website, on another port of this machine."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        pages = self.pages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path, "").encode()
                self.send_response(200 if body else 204)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self, host: str, path: str) -> str:
        return f"http://{host}:{self.server.server_port}{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)


@pytest.fixture
def evil() -> Iterator[Evil]:
    e = Evil()
    yield e
    e.close()


# The first shares our cookies, because a port makes no other site; the second does not.
HOSTS = ["127.0.0.1", "localhost"]


@pytest.mark.parametrize("host", HOSTS, ids=["same-site", "cross-site"])
def test_a_form_on_another_page_does_nothing(demo: Demo, open_browser: Open, evil: Evil, host: str) -> None:
    """An agent is signed in and opens a page that posts into the desk."""
    phone = queued(demo, "ana", "4071")
    desk = Desk(open_browser(None), demo.url)
    expect(desk.page.locator(".row [data-take]")).to_have_count(1)
    for i, path in enumerate([f"/desk/call/{phone.call}/accept", "/desk/sign-out", "/me/freeze", "/demo/sign-in/admin"]):
        evil.pages[f"/{i}"] = f'<form method="post" action="{demo.url}{path}"></form><script>document.forms[0].submit()</script>'
        page = desk.page.context.new_page()
        with page.expect_navigation(url=f"{demo.url}/**") as navigation:
            page.goto(evil.url(host, f"/{i}"))
        assert navigation.value.status == 403, path
        expect(page.get_by_role("heading", name="Not from our own page")).to_be_visible()
        page.close()
    # Nothing happened: the call waits, and the agent is still who they were.
    desk.page.reload()
    expect(desk.page.locator(".row [data-take]")).to_have_count(1)
    expect(desk.page.locator(".user")).to_contain_text("Robin")


@pytest.mark.parametrize("host", HOSTS, ids=["same-site", "cross-site"])
def test_a_script_on_another_page_reads_and_does_nothing(demo: Demo, open_browser: Open, evil: Evil, host: str) -> None:
    phone = queued(demo, "ana", "4071")
    desk = Desk(open_browser(None), demo.url)
    evil.pages["/"] = "<p>Nothing to see</p>"
    page = desk.page.context.new_page()
    page.goto(evil.url(host, "/"))
    results = page.evaluate(
        """async ([url, call]) => {
          const attempt = async (path, options) => {
            try {
              const reply = await fetch(url + path, { credentials: "include", ...options });
              return reply.type === "opaque" ? "opaque" : await reply.text();
            } catch { return "refused"; }
          };
          return {
            read: await attempt("/desk"),
            list: await attempt("/desk/list"),
            post: await attempt(`/desk/call/${call}/accept`, { method: "POST", mode: "no-cors", body: new URLSearchParams({}) }),
            json: await attempt("/handset/calls", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }),
          };
        }""",
        [demo.url, phone.call],
    )
    assert results == {"read": "refused", "list": "refused", "post": "opaque", "json": "refused"}
    desk.page.reload()
    expect(desk.page.locator(".row [data-take]")).to_have_count(1)


def test_pages_cannot_be_framed(demo: Demo, open_browser: Open, evil: Evil) -> None:
    desk = Desk(open_browser(None), demo.url)
    for i, path in enumerate(["/desk", "/me", "/handset", "/undo/x"]):
        evil.pages[f"/{i}"] = f'<title>Frame</title><iframe src="{demo.url}{path}"></iframe>'
        page = desk.page.context.new_page()
        refusals: list[str] = []
        page.on("console", lambda m, to=refusals: to.append(m.text))
        page.goto(evil.url("127.0.0.1", f"/{i}"))
        until(f"{path} is refused in a frame", lambda: any("frame" in text.lower() for text in refusals) or page.wait_for_timeout(20))
        frame = page.frames[1]
        assert not frame.url.startswith(demo.url), f"{path} is in a frame"
        page.close()


# Where the demo sends people without a session; for real it is the page to sign in (test_twilio.py).
AWAY = "/"


def test_nobody_gets_in_without_a_session(demo: Demo) -> None:
    phone = queued(demo, "ana")
    stranger = Http(demo.url)
    paths = ["/desk", "/desk/list", "/desk/events", f"/desk/call/{phone.call}", f"/desk/call/{phone.call}/panel", "/admin", f"/admin/calls/{phone.call}", "/admin/policy"]
    for cookies in [{}, {"cs_desk": "0" * 64}, {"cs_desk": "x"}, {"cs_me": "0" * 64}]:
        stranger.cookies = dict(cookies)
        for path in paths:
            reply = stranger.get(path)
            assert (reply.status, reply.location) == (303, AWAY), f"{path}: {reply}"
            assert reply.body == b"", path
        for verb in ["accept", "reveal", "end"]:
            reply = stranger.act(phone.call, verb, field="address")
            assert (reply.status, reply.location) == (303, AWAY), verb
        reply = stranger.get("/me")
        assert (reply.status, reply.location) == (303, "/me/sign-in"), reply
        assert stranger.get("/me/service-code").status == 303
        assert stranger.post("/me/freeze").status == 303

    # A customer's session opens no desk, and an agent's opens no portal.
    customer, agent = Http(demo.url), demo.sign_in("Robin")
    customer.post("/demo/sign-in/portal/ana")
    customer.cookies["cs_desk"] = customer.cookies["cs_me"]
    agent.cookies["cs_me"] = agent.cookies["cs_desk"]
    assert customer.get("/desk").location == AWAY
    assert agent.get("/me").location == "/me/sign-in"
    # Signing out ends the session itself, not just the cookie.
    old = dict(agent.cookies)
    assert agent.post("/desk/sign-out").status == 303
    agent.cookies = old
    assert agent.get("/desk").location == AWAY


def test_agents_keep_to_their_own_calls(demo: Demo) -> None:
    """Somebody else's call is not found: neither to see nor to work on."""
    robin, sam, kim = demo.sign_in("Robin"), demo.sign_in("Sam"), demo.lead()
    phone = queued(demo, "ana", "4071")
    # It waits for agents, so Robin may look before taking it.
    assert robin.get(f"/desk/call/{phone.call}").status == 200
    assert robin.act(phone.call, "accept").status == 200
    page, panel = f"/desk/call/{phone.call}", f"/desk/call/{phone.call}/panel"
    assert robin.get(page).status == 200
    # What is known of the number comes by itself, a moment after the call: not Sam's doing.
    until("the number was looked up", lambda: "number intelligence" in kim.get(f"/admin/calls/{phone.call}").text)
    before = robin.get(panel).text
    for path in (page, panel):
        assert sam.get(path).status == 404, path
    for verb, form in [
        ("accept", {}), ("heard", {"what": "postal_code", "value": "20500"}), ("reveal", {"field": "name"}), ("request", {"action": "change:address"}),
        ("prove", {"factors": "sms_code"}), ("hand-over", {"queue": "specialists"}), ("end", {}), ("cancel", {}), ("switch", {"reason": "because I want to"}),
    ]:
        reply = sam.act(phone.call, verb, **form)
        assert reply.status == 200 and reply.body == b"" and reply.headers["hx-redirect"] == "/desk", f"{verb}: {reply}"
    assert number(before) == number(robin.get(panel).text), "nothing that Sam tried left a trace on the call"
    # The admin page is for leads and administrators.
    for path in ["/admin", f"/admin/calls/{phone.call}", "/admin/policy", "/admin/risk"]:
        assert sam.get(path).status == 404 and robin.get(path).status == 404, path
        assert kim.get(path).status == 200, path
    # A lead may look on, and sees nothing of the account.
    looked = kim.get(panel)
    assert looked.status == 200
    none_of(ANA_SECRETS, looked.text, "what a lead sees of another's call")
    # Handed over, it is Sam's and no longer Robin's.
    assert robin.act(phone.call, "hand-over", queue="specialists").headers["hx-redirect"] == "/desk"
    assert robin.get(page).status == 404
    assert "authenticated" in sam.act(phone.call, "accept").text
    assert robin.get(page).status == 404


def number(panel: str) -> str:
    """The number of the call's last event."""
    return panel.split('data-n="')[1].split('"')[0]


def test_calls_and_accounts_cannot_be_guessed(demo: Demo) -> None:
    robin = demo.sign_in("Robin")
    for path in ["/desk/call/call_" + "0" * 32, "/desk/call/call_" + "0" * 32 + "/panel", "/desk/call/x", "/desk/call/..%2f..%2fadmin", "/desk/call/%00"]:
        assert robin.get(path).status in (400, 404), path
    for token in ["0" * 64, "x", "%00", "a" * 5000]:
        assert demo.http.get(f"/undo/{token}").status in (414, 422), token[:10]
        assert demo.http.post(f"/not-me/{token}").status in (414, 422), token[:10]
    assert demo.http.get("/me/enter?token=" + "0" * 64).status == 422
    assert demo.http.get("/assets/..%2f..%2fCargo.toml").status == 404


def test_the_desk_has_nothing_before_a_proof(demo: Demo, open_browser: Open, tmp_path: Path) -> None:
    """Ana's number identifies her, two details open her account, and still nothing of hers is in
    the page, in anything that was sent to it, or in its event stream."""
    har = tmp_path / "desk.har"
    context = open_browser(demo.url, record_har_path=har, record_har_content="embed")
    desk = Desk(context, demo.url)
    seen = Stream(signed_in(demo, desk.page), "/desk/events")
    phone = queued(demo, "ana")
    desk.page.get_by_role("button", name="Take").click()
    desk.level("identified")
    for what, value in [("email", "somebody@example.com"), ("postal_code", "20500"), ("account_number", "10004711")]:
        desk.page.locator("#heard-what").select_option(what)
        desk.page.locator("#heard-value").fill(value)
        before = desk.call.get_attribute("data-n") or ""
        desk.page.get_by_role("button", name="Compare", exact=True).click()
        expect(desk.call).not_to_have_attribute("data-n", before)
    expect(desk.call).to_contain_text("The account is open")
    desk.level("identified")
    desk.page.locator("#record summary").click()
    # What the agent typed may be there; what is on file may not.
    typed = ["20500", "10004711"]
    secrets = [s for s in ANA_SECRETS if s not in [*typed, "710004711"]]
    page = desk.shown()
    none_of(secrets, page, "the page")
    none_of(typed, desk.page.content(), "the page, which shows nothing back")
    none_of(secrets, seen.text, "the event stream")

    # The account is open and not proved: what is asked for all the same is refused.
    robin = signed_in(demo, desk.page)
    for field in ["name", "address", "email", "phone", "date_of_birth", "orders", "postal_code", "account_number"]:
        for form in [{"field": field}, {"field": field, "reason": "The customer is in a great hurry"}]:
            none_of(secrets + typed, robin.act(phone.call, "reveal", **form).text, f"what {form} brought")

    # The counter-check: after two proofs the same search finds what it looks for.
    robin.act(phone.call, "prove", factors="pin,sms_code")
    phone.key("4071#")
    inbox = Stream(demo.http, "/handset/inbox/ana/events")
    code = until("the code", lambda: next((c for c in (digits(json.loads(m)["text"]) for m in inbox.data()) if c), None))
    phone.key(f"{code}#")
    desk.level("strong")
    desk.page.get_by_role("button", name="Show Postal address").click()
    expect(desk.call.locator(".fields")).to_contain_text("12 Juniper Lane")
    assert "12 Juniper Lane" in desk.shown()
    context.close()

    entries = json.loads(har.read_text())["log"]["entries"]
    bodies = [(e["request"]["url"], e["response"]["content"].get("text", "")) for e in entries]
    strong = next(i for i, (_, body) in enumerate(bodies) if 'data-level="strong"' in body)
    assert strong > 10, "the desk's traffic was recorded"
    for url, body in bodies[:strong]:
        if url != f"{demo.url}/":  # the demo's start page names its people
            none_of(secrets, body, url)
    assert any("12 Juniper Lane" in body for _, body in bodies[strong:])


def signed_in(demo: Demo, page: Page) -> Http:
    """The same session without the page."""
    http_client = Http(demo.url)
    http_client.cookies = {c["name"]: c["value"] for c in page.context.cookies()}
    return http_client


def digits(text: str) -> str | None:
    """The code in a text."""
    found = re.search(r"key in code (\d{6})\.", text, re.IGNORECASE)
    return found[1] if found else None


def test_a_stranger_learns_nothing_on_the_telephone(demo: Demo) -> None:
    """From another phone, right and wrong details sound alike, and nothing on file is ever said."""
    heard = []
    for account, postal in [("10004711", "20500"), ("10004711", "99999"), ("99999999", "20500")]:
        phone = Phone(demo)
        phone.key("1")
        phone.key("2")
        phone.key(f"{account}#")
        first = [d.get("text") for d in phone.now]
        phone.key(f"{postal}#")
        heard.append(first)
        none_of(ANA_SECRETS, json.dumps(phone.now), "what a stranger hears")
    assert heard[0] == heard[1] == heard[2], "an account number that exists sounds like one that does not"
