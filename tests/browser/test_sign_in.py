"""Sign-in to the portal through a real OpenID provider, in a real browser; and what somebody in
between could try."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from conftest import Open, keep_words
from helpers import Http, until
from openid_world import World, run

CALLBACK = "/me/sign-in/callback"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    for w in run(tmp_path):
        keep_words(request, w.server)
        yield w


def at_the_provider(world: World, page: Page, who: str) -> None:
    """From our door through the provider's pages, up to the button that sends back."""
    page.goto(f"{world.public}/me/sign-in/provider")
    assert page.url.startswith(world.provider.issuer)
    page.get_by_placeholder("Enter any login").fill(who)
    page.get_by_placeholder("and password").fill("whatever")
    page.get_by_role("button", name="Sign-in").click()


def sign_in(world: World, context: BrowserContext, who: str = "u20008811") -> Page:
    page = context.new_page()
    at_the_provider(world, page, who)
    page.get_by_role("button", name="Continue").click()
    return page


def caught(world: World, context: BrowserContext) -> tuple[str, Http]:
    """A whole answer of the provider that was not taken yet, and the browser that may take it: its
    cookie is away when the answer comes, so nothing is used up."""
    page = context.new_page()
    at_the_provider(world, page, "u20008811")
    browser = Http(world.public)
    browser.cookies = {c["name"]: c["value"] for c in context.cookies(f"{world.public}{CALLBACK}") if c["name"].startswith("cs_")}
    assert set(browser.cookies) == {"cs_signing_in"}
    context.clear_cookies(name="cs_signing_in")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("was begun in another browser")).to_be_visible()
    return page.url.removeprefix(world.public), browser


def with_query(path: str, **change: str | None) -> str:
    parts = urlsplit(path)
    query = {k: v[0] for k, v in parse_qs(parts.query).items()} | change
    return f"{parts.path}?{urlencode({k: v for k, v in query.items() if v is not None})}"


def refused(world: World, http: Http, path: str) -> None:
    reply = http.get(path)
    assert reply.status == 422, reply
    assert "cs_me" not in str(reply.headers.get_all("set-cookie")), reply
    assert "Try again" in reply.text or "cancelled" in reply.text


def test_a_customer_signs_in(world: World, open_browser: Open) -> None:
    context = open_browser(None)
    page = sign_in(world, context)
    page.wait_for_url(f"{world.public}/me")
    expect(page.get_by_text("Maya Lindqvist")).to_be_visible()
    cookies = {c["name"]: c for c in context.cookies(world.public)}
    assert cookies["cs_me"]["sameSite"] == "Strict" and cookies["cs_me"]["httpOnly"]
    assert "cs_signing_in" not in cookies
    expect(page.get_by_text("Your sign-in was linked")).to_be_visible()

    # The second time nothing is linked anew.
    page.get_by_role("button", name="Sign out").click()
    again = open_browser(None)
    page = sign_in(world, again)
    page.wait_for_url(f"{world.public}/me")
    expect(page.get_by_text("Your sign-in was linked")).to_have_count(1)


def test_nobody_of_ours(world: World, open_browser: Open) -> None:
    page = sign_in(world, open_browser(None), "u99999999")
    expect(page.get_by_text("no account here belongs to that sign-in")).to_be_visible()


def test_a_number_does_not_take_over_a_linked_account(world: World, open_browser: Open) -> None:
    sign_in(world, open_browser(None)).wait_for_url(f"{world.public}/me")
    # Another name at the provider with the same customer number.
    page = sign_in(world, open_browser(None), "20008811")
    expect(page.get_by_text("no account here belongs to that sign-in")).to_be_visible()


def test_a_name_is_of_one_provider(world: World, open_browser: Open) -> None:
    """Another provider's customer of the same name is not ours, unless it says so by number."""
    sign_in(world, open_browser(None)).wait_for_url(f"{world.public}/me")
    world.move()
    world.provider.moods(number="99999999")
    page = sign_in(world, open_browser(None))
    expect(page.get_by_text("no account here belongs to that sign-in")).to_be_visible()
    # By number it is a sign-in of its own, and does not end the other's.
    world.provider.moods(number="20008811")
    page = sign_in(world, open_browser(None))
    page.wait_for_url(f"{world.public}/me")
    expect(page.get_by_text("Your sign-in was linked")).to_have_count(2)


def test_whoever_is_nobody_fills_nothing(world: World) -> None:
    """A sign-in that was begun is kept by the browser that began it."""
    def size() -> int:
        return sum(f.stat().st_size for f in world.installation.record.parent.glob("record.db*"))

    http = Http(world.public)
    http.get("/me/sign-in/provider")
    events = len(world.installation.run("audit", "export").stdout.splitlines())
    until("what was imported is in the log", lambda: re.search(rf"(?m)^countersign_log_entries {events}$", http.get("/metrics").text), seconds=30)
    before = size()
    assert before
    for _ in range(200):
        assert Http(world.public).get("/me/sign-in/provider").status == 303
    assert size() == before


def test_answers_that_were_tampered_with(world: World, open_browser: Open) -> None:
    context = open_browser(None)
    mine, browser = caught(world, context)
    # None of these uses the sign-in up: they do not know its state, or are of another browser.
    refused(world, browser, with_query(mine, state="0" * 64))
    refused(world, browser, with_query(mine, state=None))
    refused(world, Http(world.public), mine)
    stranger = Http(world.public)
    stranger.cookies = {"cs_signing_in": "0" * 64}
    refused(world, stranger, mine)
    # This one is whole, and works; once.
    reply = browser.get(mine)
    assert reply.status == 200 and "cs_me=" in str(reply.headers.get_all("set-cookie"))
    refused(world, browser, mine)


def test_a_code_of_another_sign_in(world: World, open_browser: Open) -> None:
    """Codes and states of two sign-ins mixed up: PKCE and nonce tell them apart."""
    one, two = open_browser(None), open_browser(None)
    (first, browser), (second, _) = caught(world, one), caught(world, two)
    code = parse_qs(urlsplit(second).query)["code"][0]
    refused(world, browser, with_query(first, code=code))
    # And what was tried is over.
    refused(world, browser, first)


@pytest.mark.parametrize("change", [{"code": "tampered"}, {"iss": "https://evil.example"}, {"iss": None}, {"code": None}, {"error": "access_denied", "code": None}, {"error": "<script>alert(1)</script>"}])
def test_what_is_not_the_providers_answer(world: World, open_browser: Open, change: dict[str, str | None]) -> None:
    context = open_browser(None)
    answer, browser = caught(world, context)
    reply = browser.get(with_query(answer, **change))
    assert reply.status == 422 and "<script>" not in reply.text and "evil" not in reply.text, reply
    assert "cs_me" not in str(reply.headers.get_all("set-cookie"))


def test_a_token_with_another_nonce(world: World, open_browser: Open) -> None:
    """Somebody changes the nonce on the way to the provider: the token is for another sign-in."""
    context = open_browser(None)


    def with_full(url: str, **change: str) -> str:
        parts = urlsplit(url)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()} | change
        return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"

    start = Http(world.public)
    reply = start.get("/me/sign-in/provider")
    context.add_cookies([{"name": "cs_signing_in", "value": start.cookies["cs_signing_in"], "url": f"{world.public}/me/sign-in/"}])
    page = context.new_page()
    page.goto(with_full(reply.location, nonce="another"))
    page.get_by_placeholder("Enter any login").fill("u20008811")
    page.get_by_placeholder("and password").fill("whatever")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("The sign-in did not work")).to_be_visible()


def test_the_provider_is_away(world: World) -> None:
    world.provider.process.kill()
    reply = Http(world.public).get("/me/sign-in/provider")
    assert reply.status == 422 and "does not answer" in reply.text
