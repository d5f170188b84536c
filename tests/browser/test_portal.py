"""The customer's side in real windows: codes that travel, approvals that come by themselves, calls
that the portal begins, and the same with the keyboard alone."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from conftest import Desk, Handset, Open, portal_of, screenshot
from helpers import Demo


def digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def spoken_code(handset: Handset) -> str:
    said = handset.log.locator(".said", has_text="Type this code there").last
    expect(said).to_be_visible()
    return digits(said.inner_text().split("Type this code there:")[1].split(".")[0])


def test_youtube_hybrid(demo: Demo, open_browser: Open, shots: Path) -> None:
    """The machine says a code to a stranger's telephone; typed where Ana is signed in, it is her."""
    handset = Handset(open_browser(demo.url), demo.url)
    portal = portal_of(open_browser(demo.url), demo.url, "Ana Torres")
    expect(portal.locator("#live")).to_contain_text("No call with us is going on.")
    handset.page.get_by_role("radio", name=re.compile("on nobody’s file")).check()
    handset.page.get_by_role("button", name="Call", exact=True).click()
    handset.asked("For English")
    handset.press("1")
    handset.asked("press 3")
    handset.press("3")
    code = spoken_code(handset)
    assert len(code) == 8
    portal.get_by_role("link", name="I was given a code on the phone").click()
    portal.get_by_label(re.compile("The code you hear")).fill(f"{code[:4]} {code[4:]}")
    portal.get_by_role("button", name="Go on").click()
    expect(portal.get_by_role("heading", name="Is this your call?")).to_be_visible()
    expect(portal.locator("main")).to_contain_text("that is not on your file")
    screenshot(portal, shots / "portal-is-this-your-call.png")
    portal.get_by_role("button", name="Yes, it is me").click()
    expect(portal.get_by_role("status").first).to_contain_text("Approved")
    handset.hears("Thank you, that was accepted")
    handset.asked("Please choose what you hear while you wait")


def test_flex_push(demo: Demo, open_browser: Open, shots: Path) -> None:
    """A request appears in an open portal by itself; typing the code there moves the desk."""
    handset, desk = Handset(open_browser(demo.url), demo.url), Desk(open_browser(demo.url), demo.url)
    portal = portal_of(open_browser(demo.url, viewport={"width": 390, "height": 844}), demo.url, "Ana Torres")
    handset.dial("Ana Torres")
    handset.asked("We know the number")
    handset.press("2")
    handset.asked("Please enter your PIN")
    handset.press("4071#")
    handset.asked("Please choose what you hear")
    handset.press("4")
    # The portal says that somebody is on the phone as her, before anything is asked of her.
    expect(portal.locator("#live")).to_contain_text("Somebody is on the phone with us as you")
    desk.page.locator(".row").get_by_role("button", name="Take").click()
    desk.level("authenticated")
    words = portal.locator("#live .word")
    expect(words).to_have_count(2)
    expect(desk.page.locator(".watchwords")).to_contain_text(f"they say {words.nth(0).inner_text()}, you say {words.nth(1).inner_text()}")

    desk.page.locator("#prove-approval").click()
    given = desk.call.locator(".given")
    expect(given).to_be_visible()
    code = digits(given.inner_text())
    ask = portal.locator("[data-ask]")
    expect(ask).to_contain_text("Is this you on the phone?")
    expect(ask).to_contain_text("Robin asks")
    assert code not in digits(portal.locator("main").inner_text().split("Your code for the phone")[0]), "the code is on the call alone"
    no, yes = ask.get_by_role("button", name="I am not on the phone").bounding_box(), ask.get_by_role("button", name="Approve", exact=True).bounding_box()
    assert no and yes and no["width"] * no["height"] >= yes["width"] * yes["height"], "declining is as easy"
    screenshot(portal, shots / "portal-approval-phone.png")
    screenshot(desk.page, shots / "desk-approval.png")

    wrong = "000000" if code != "000000" else "111111"
    ask.get_by_label("The code you hear on the call").fill(wrong)
    ask.get_by_role("button", name="Approve", exact=True).click()
    expect(portal.get_by_role("status").first).to_contain_text("not the code you were given")
    expect(desk.call.locator(".challenge")).to_contain_text("2 tries left")
    ask.get_by_label("The code you hear on the call").fill(code)
    portal.keyboard.press("Enter")
    expect(portal.get_by_role("status").first).to_contain_text("Approved")
    desk.level("strong")
    expect(desk.call.locator(".proved")).to_contain_text("portal approval")
    handset.is_talking()


def test_not_me(demo: Demo, open_browser: Open, shots: Path) -> None:
    """Somebody knows her PIN and shows her number. She says so, and the desk learns it at once."""
    handset, desk = Handset(open_browser(demo.url), demo.url), Desk(open_browser(demo.url), demo.url)
    portal = portal_of(open_browser(demo.url), demo.url, "Ana Torres")
    handset.dial("Ana Torres")
    handset.asked("We know the number")
    handset.press("2")
    handset.asked("Please enter your PIN")
    handset.press("4071#")
    handset.asked("Please choose what you hear")
    handset.press("4")
    desk.page.locator(".row").get_by_role("button", name="Take").click()
    desk.level("authenticated")
    desk.page.locator("#prove-approval").click()
    portal.get_by_role("button", name="I am not on the phone").click()
    expect(portal.get_by_role("status").first).to_contain_text("Nothing on that call counts any more")
    desk.level("identified")
    expect(desk.call).to_contain_text("Not the customer.")
    screenshot(desk.page, shots / "desk-not-the-customer.png")


def test_walmart_call_me(demo: Demo, open_browser: Open, shots: Path) -> None:
    """Asked for in the portal; the telephone on file rings; one key that only the portal shows."""
    handset = Handset(open_browser(demo.url), demo.url)
    portal = portal_of(open_browser(demo.url), demo.url, "Chidi Okafor")
    handset.page.get_by_role("radio", name="Chidi Okafor").check()
    portal.get_by_role("button", name="Ring the number ending in 44").click()
    ring = portal.locator(".ring-key")
    expect(ring).to_be_visible()
    screenshot(portal, shots / "portal-rings.png")
    key = digits(ring.inner_text())
    expect(handset.phone).to_have_attribute("data-state", "ringing")
    handset.page.get_by_role("button", name="Answer", exact=True).click()
    handset.asked("Press the key that our website shows now")
    expect(portal.locator("#live")).to_contain_text("You answered")
    handset.press(key)
    handset.hears("Thank you, that was accepted")
    handset.asked("Please choose what you hear")
    expect(portal.locator("#live")).to_contain_text("The caller proved to be you.")


def test_silent_authentication(demo: Demo, open_browser: Open) -> None:
    """The number that the portal dials says who calls; nothing is asked."""
    context = open_browser(demo.url)
    portal = portal_of(context, demo.url, "Liam Okafor")
    portal.get_by_role("button", name="Call us without questions").click()
    with portal.expect_navigation():
        portal.get_by_role("link", name="Call now").click()
    portal.get_by_label("Voice").uncheck()
    portal.get_by_role("button", name="Call", exact=True).click()
    log = portal.get_by_role("list", name="What is said")
    expect(log).to_contain_text("Thank you, that was accepted")
    expect(log).to_contain_text("Please choose what you hear while you wait")
    expect(log).not_to_contain_text("app")
    assert "token" not in portal.url, "a reload dials nothing again"


def test_a_call_of_ours_is_known(demo: Demo, open_browser: Open) -> None:
    """An agent rings; the portal says that it is us, who, and what about."""
    handset, desk = Handset(open_browser(demo.url), demo.url), Desk(open_browser(demo.url), demo.url)
    portal = portal_of(open_browser(demo.url), demo.url, "Ana Torres")
    handset.page.get_by_role("radio", name="Ana Torres").check()
    desk.page.get_by_text("Ring a customer").click()
    desk.page.get_by_label("Account number").fill("10004711")
    desk.page.get_by_label("What about").select_option(label="Cancel an order")
    desk.page.get_by_role("button", name="Ring the number on file").click()
    handset.page.get_by_role("button", name="Answer", exact=True).click()
    handset.asked("One of our people would like to speak to you")
    handset.press("1")
    handset.is_talking()
    live = portal.locator("#live")
    expect(live).to_contain_text("We are calling you")
    expect(live).to_contain_text("Robin")
    expect(live).to_contain_text("cancel an order")


def reach(page: Page, target: Locator, most: int = 60) -> None:
    """Gets there with the Tab key, as whoever has no mouse does."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if target.evaluate("e => e === document.activeElement"):
            return
    raise AssertionError(f"the Tab key never gets to {target}")


def test_the_keyboard_is_enough(demo: Demo, open_browser: Open) -> None:
    """An approval without a mouse; what has the focus can be seen to have it."""
    handset, desk = Handset(open_browser(demo.url), demo.url), Desk(open_browser(demo.url), demo.url)
    portal = portal_of(open_browser(demo.url), demo.url, "Ana Torres")
    handset.dial("Ana Torres")
    handset.asked("We know the number")
    handset.press("2")
    handset.asked("Please enter your PIN")
    handset.press("0#")
    handset.asked("Please choose what you hear")
    handset.press("4")
    desk.page.locator(".row").get_by_role("button", name="Take").click()
    desk.level("identified")
    desk.page.locator("#prove-approval").click()
    code = digits(desk.call.locator(".given").inner_text())
    field = portal.get_by_label("The code you hear on the call")
    expect(field).to_be_visible()
    # The live region has said what is asked, for who listens to the page.
    expect(portal.locator("#say")).to_contain_text("asks whether you want to")
    reach(portal, field)
    outline = field.evaluate("e => getComputedStyle(e).outlineStyle + getComputedStyle(e).boxShadow")
    assert outline != "nonenone", "the focus can be seen"
    portal.keyboard.type(code)
    portal.keyboard.press("Enter")
    expect(portal.get_by_role("status").first).to_contain_text("Approved")
    desk.level("authenticated")
