"""The security page in a real browser: with passkeys of a virtual authenticator, and without a script."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from playwright.sync_api import CDPSession, Page, expect

from conftest import Open
from helpers import Demo

AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}


def authenticator(page: Page) -> tuple[CDPSession, str]:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    return session, session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})["authenticatorId"]


def enter(start: Page) -> Page:
    """One click on the demo's start page signs Ana in, in a window of its own."""
    with start.expect_popup() as window:
        start.locator("form[action='/demo/sign-in/portal/ana'] button").click()
    page = window.value
    page.wait_for_url("**/me")
    return page


def confirm(page: Page, pin: str = "4071") -> None:
    """A web sign-in alone changes nothing: the PIN on file confirms it."""
    assert page.get_by_role("button", name="Set up an app").count() == 0
    page.get_by_label("Your PIN for the phone").fill(pin)
    page.get_by_role("button", name="Confirm", exact=True).click()


def test_a_passkey_is_added_and_signs_in(demo: Demo, open_browser: Open) -> None:
    # No IP address is a relying party: the page under 127.0.0.1 says where to go instead.
    home = f"http://localhost:{urlsplit(demo.url).port}"
    context = open_browser(home, viewport={"width": 390, "height": 844})
    start = context.new_page()
    start.goto(f"{home}/")
    page = enter(start)
    session, device = authenticator(page)
    page.goto(f"{home}/me/security")
    confirm(page)
    page.get_by_placeholder("Name, such as My phone").fill("My phone")
    page.get_by_role("button", name="Add a passkey").click()
    page.wait_for_url("**/me/security?say=added")
    expect(page.get_by_text("My phone", exact=True)).to_be_visible()
    assert len(session.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]) == 1

    # The session is no longer enough: the passkey signs first.
    assert page.get_by_role("button", name="Set up an app").count() == 0
    page.get_by_role("button", name="Confirm with a passkey").click()
    page.wait_for_url("**/me/security?say=confirmed")
    page.get_by_role("button", name="Set up an app").click()
    page.wait_for_url("**/me/security/totp")
    picture = page.locator("img.qr")
    expect(picture).to_be_visible()
    assert picture.evaluate("e => e.complete && e.naturalWidth > 0"), "the picture is drawn"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"

    # In again, without a name. A device whose holder is not verified does not sign.
    page.get_by_role("link", name="Security").first.click()
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{home}/me/sign-in")
    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_be_visible()
    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/me")
    expect(page.get_by_text("Ana Torres").first).to_be_visible()


def test_the_page_under_an_address_leads_to_a_name(demo: Demo, open_browser: Open) -> None:
    page = open_browser(demo.url).new_page()
    page.goto(f"{demo.url}/me/sign-in")
    assert page.get_by_role("button", name="Sign in with a passkey").count() == 0
    link = page.get_by_role("link", name="Open this page under the address where they do.")
    assert link.get_attribute("href") == f"//localhost:{urlsplit(demo.url).port}/me/sign-in"


def test_without_a_script_the_forms_work(demo: Demo, open_browser: Open) -> None:
    context = open_browser(demo.url, java_script_enabled=False)
    start = context.new_page()
    start.goto(f"{demo.url}/")
    page = enter(start)
    page.goto(f"{demo.url}/me/security")
    page.get_by_label("No changes by phone at all").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("No changes by phone at all")).to_be_checked()
    confirm(page, "4072")
    expect(page.get_by_text("This was not right, or was used before. Nothing was changed.")).to_be_visible()
    confirm(page)
    page.get_by_role("button", name="Make a list").click()
    assert page.locator("ol.paper li").count() == 10
    page.get_by_role("link", name="I have them").click()
    page.get_by_role("button", name="Remove the PIN").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("It is removed.")).to_be_visible()


def test_everything_is_downloaded_as_one_file(demo: Demo, open_browser: Open) -> None:
    start = open_browser(demo.url).new_page()
    start.goto(f"{demo.url}/")
    page = enter(start)
    page.goto(f"{demo.url}/me/security")
    assert page.get_by_role("button", name="Download everything").count() == 0
    confirm(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download everything").click()
    assert download.value.suggested_filename == "my-data.json"
    text = download.value.path().read_text()
    file = json.loads(text)
    assert file["data"]["profile"]["name"] == "Ana Torres" and "everything" in file["about"][0], text
    assert "argon2" not in text
    page.goto(f"{demo.url}/me")
    expect(page.get_by_text("Everything that we keep about you was downloaded here.")).to_be_visible()
