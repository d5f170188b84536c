"""Passkeys with Chromium's own authenticator: made, used, refused where they must be."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, CDPSession, Page, expect

from conftest import Desk, Handset, Open, portal_of, screenshot
from helpers import Demo

# Passkeys are for names, not for bare addresses.
def named(demo: Demo) -> str:
    return demo.url.replace("127.0.0.1", "localhost")


@contextmanager
def authenticator(page: Page) -> Iterator[tuple[CDPSession, str]]:
    """An authenticator in the browser that finds its holder there."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    identity = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
    yield cdp, identity
    cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": identity})


def add_passkey(page: Page, demo: Demo) -> None:
    page.goto(f"{named(demo)}/me/security")
    page.get_by_label("Your PIN for the phone").fill("4071")
    page.get_by_role("button", name="Confirm", exact=True).click()
    page.get_by_label("Name of the new passkey").fill("Test device")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.locator("main")).to_contain_text("Test device")


def quiet(context: BrowserContext) -> None:
    """What is refused on purpose is no complaint."""
    context.complaints.list = [c for c in context.complaints.list if "422" not in c]


def test_a_passkey_signs_in_and_approves(demo: Demo, open_browser: Open, shots: Path) -> None:
    handset, desk = Handset(open_browser(demo.url), demo.url), Desk(open_browser(demo.url), demo.url)
    context = open_browser(named(demo))
    page = portal_of(context, named(demo), "Ana Torres")
    with authenticator(page) as (cdp, identity):
        add_passkey(page, demo)
        screenshot(page, shots / "portal-security.png")
        credentials = cdp.send("WebAuthn.getCredentials", {"authenticatorId": identity})["credentials"]
        assert len(credentials) == 1 and credentials[0]["isResidentCredential"] and credentials[0]["rpId"] == "localhost"

        # Out, and in again without a name or a password.
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{named(demo)}/me/sign-in")
        screenshot(page, shots / "portal-sign-in.png")
        page.get_by_role("button", name="Sign in with a passkey").click()
        page.wait_for_url("**/me")
        expect(page.locator(".user")).to_contain_text("Ana Torres")

        # On a call: the desk asks, the page shows it by itself, the device signs.
        handset.dial("Ana Torres")
        handset.asked("We know the number")
        handset.press("2")
        handset.asked("PIN")
        handset.press("0#")
        handset.asked("Please choose what you hear")
        handset.press("4")
        desk.page.locator(".row").get_by_role("button", name="Take").click()
        desk.level("identified")
        desk.page.locator("#prove-passkey").click()
        expect(desk.call.locator(".challenge")).to_contain_text("nothing to read out")
        ask = page.locator("[data-ask]")
        expect(ask).to_contain_text("Robin asks")
        screenshot(page, shots / "portal-approve-by-passkey.png")
        ask.get_by_role("button", name="Approve with my passkey").click()
        expect(page.get_by_role("status").first).to_contain_text("Approved")
        desk.level("strong")


def test_a_device_that_finds_somebody_else_approves_nothing(demo: Demo, open_browser: Open) -> None:
    context = open_browser(named(demo))
    page = portal_of(context, named(demo), "Ana Torres")
    with authenticator(page) as (cdp, identity):
        add_passkey(page, demo)
        cdp.send("WebAuthn.setUserVerified", {"authenticatorId": identity, "isUserVerified": False})
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{named(demo)}/me/sign-in")
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.locator("[data-passkey-error]").first).to_contain_text(re.compile("cancelled|too long|did not|not"))
        page.goto(f"{named(demo)}/me")
        page.wait_for_url("**/me/sign-in")


def test_a_copied_key_is_noticed_by_its_count(demo: Demo, open_browser: Open) -> None:
    """A clone signs with a count that the original has passed already."""
    context = open_browser(named(demo))
    page = portal_of(context, named(demo), "Ana Torres")
    with authenticator(page) as (cdp, identity):
        add_passkey(page, demo)
        original = cdp.send("WebAuthn.getCredentials", {"authenticatorId": identity})["credentials"][0]
        for _ in range(2):
            page.get_by_role("button", name="Sign out").click()
            page.goto(f"{named(demo)}/me/sign-in")
            page.get_by_role("button", name="Sign in with a passkey").click()
            page.wait_for_url("**/me")
        cdp.send("WebAuthn.clearCredentials", {"authenticatorId": identity})
        cdp.send("WebAuthn.addCredential", {"authenticatorId": identity, "credential": original | {"signCount": 1}})
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{named(demo)}/me/sign-in")
        page.get_by_role("button", name="Sign in with a passkey").click()
        expect(page.locator("[data-passkey-error]").first).to_be_visible()
        page.goto(f"{named(demo)}/me")
        page.wait_for_url("**/me/sign-in")
    quiet(context)


def test_an_answer_cannot_be_replayed_or_come_from_elsewhere(demo: Demo, open_browser: Open) -> None:
    """What the browser sent is sent once more; and the same with another origin written in."""
    context = open_browser(named(demo))
    page = portal_of(context, named(demo), "Ana Torres")
    with authenticator(page):
        add_passkey(page, demo)
        page.get_by_role("button", name="Sign out").click()
        page.goto(f"{named(demo)}/me/sign-in")
        with page.expect_request("**/me/sign-in/passkey/finish") as sent:
            page.get_by_role("button", name="Sign in with a passkey").click()
        page.wait_for_url("**/me")
        body = json.loads(sent.value.post_data or "")
        page.get_by_role("button", name="Sign out").click()
        post = """async ([path, body]) => (await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).status"""
        assert page.evaluate(post, ["/me/sign-in/passkey/finish", body]) == 422, "spent"

        page.goto(f"{named(demo)}/me/sign-in")
        fresh = page.evaluate("""async () => (await (await fetch("/me/sign-in/passkey/start", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" })).json())""")
        client = json.loads(base64.urlsafe_b64decode(body["credential"]["response"]["clientDataJSON"] + "=="))
        client |= {"challenge": fresh["options"]["challenge"], "origin": "https://evil.example"}
        body["ceremony"] = fresh["ceremony"]
        body["credential"]["response"]["clientDataJSON"] = base64.urlsafe_b64encode(json.dumps(client).encode()).rstrip(b"=").decode()
        assert page.evaluate(post, ["/me/sign-in/passkey/finish", body]) == 422
        page.goto(f"{named(demo)}/me")
        page.wait_for_url("**/me/sign-in")
    quiet(context)
