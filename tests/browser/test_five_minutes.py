"""The first five minutes with the demo, as somebody new would spend them: one caller, one agent,
one customer, each with a window of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import expect

from conftest import Desk, Handset, Open, screenshot
from helpers import ANA_SECRETS, Demo, Http, Stream, none_of, until


def test_five_minutes(demo: Demo, open_browser: Open, tmp_path: Path, shots: Path) -> None:
    har = tmp_path / "desk.har"
    callers = open_browser(demo.url)
    agents = open_browser(demo.url, record_har_path=har, record_har_content="embed")
    customers = open_browser(demo.url)
    handset, desk = Handset(callers, demo.url), Desk(agents, demo.url)
    seen = watch_desk(demo, agents.cookies())

    # The number is known: she is greeted, and nothing about her is said.
    handset.dial("Ana Torres")
    handset.asked("We know the number you are calling from")
    none_of(ANA_SECRETS, handset.log.inner_text(), "what a recognised caller hears")
    handset.press("1")
    handset.asked("Please enter your PIN")
    handset.press("4071#")
    handset.hears("Thank you, that was accepted")
    expect(handset.log.locator(".keyed").last).to_have_text("••••#")
    handset.asked("Please choose what you hear while you wait")
    handset.press("2")
    expect(handset.log).to_contain_text("On hold: lively music")

    # The call shows up by itself, with what was proved.
    row = desk.page.locator(".row")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("authenticated")
    row.get_by_role("button", name="Take").click()
    desk.level("authenticated")
    handset.is_talking()
    picture(shots, "1-taken", handset, desk)

    # An address needs more than a PIN.
    address = desk.action("change:address")
    expect(address).to_contain_text("needs strong")
    address.get_by_role("button", name="Ask on record").click()
    expect(desk.call.locator(".flash")).to_contain_text("Needs strong")
    expect(address.locator("form.perform-form")).to_have_count(0)

    # The code goes to the number on file, and is keyed where the agent hears nothing.
    address.get_by_role("button", name="Ask for texted code").click()
    expect(desk.call.locator(".challenge")).to_contain_text("Sent to the number on file")
    handset.asked("The agent cannot hear your keys")
    code = handset.texted_code()
    picture(shots, "2-step-up", handset, desk)
    wrong = "000000" if code != "000000" else "111111"
    handset.press(f"{wrong}#")
    expect(desk.call.locator(".challenge")).to_contain_text("2 tries left")
    handset.asked("That was not accepted")
    handset.press(f"{code}#")
    desk.level("strong")
    handset.is_talking()
    expect(desk.call.locator(".proved")).to_contain_text("texted code", ignore_case=True)

    # Neither the page nor anything behind it ever held what was keyed, or what Ana has on file.
    everything = desk.shown() + seen.text
    assert "Sent to the number on file" in everything, "what was on the page for a while only is there"
    none_of([code, wrong, "4071"], everything, "the desk")
    none_of([s for s in ANA_SECRETS if s not in ("Torres", "Reading lamp", "710004711", "10004711")], everything, "the desk")

    # Now it may be done.
    expect(address).to_contain_text("now")
    address.locator("summary").click()
    address.get_by_label("Street and town").fill("9 Cedar Court, Riverton")
    address.get_by_label("Postal code").fill("84065")
    address.get_by_role("button", name="Change postal address").click()
    expect(desk.call.locator(".flash")).to_contain_text("Done")
    expect(address).to_contain_text("done")
    picture(shots, "3-done", handset, desk)

    # She is told where she was reached before, and can take it back.
    notice = handset.messages.locator(".message", has_text="The postal address on your account was changed").first
    expect(notice).to_be_visible()
    expect(notice).not_to_contain_text("Cedar Court")
    with callers.expect_page() as opened:
        notice.get_by_role("link").click()
    undo = opened.value
    expect(undo.get_by_role("heading", name="Undo a change")).to_be_visible()
    screenshot(undo, shots / "five-minutes-4-undo.png")
    undo.get_by_role("button", name="Undo the change").click()
    expect(undo.get_by_role("status")).to_contain_text("It is as it was before")
    undo.goto(notice.get_by_role("link").get_attribute("href") or "")
    expect(undo.locator("#error-help")).to_contain_text("This link was used")
    callers.complaints.list = [c for c in callers.complaints.list if "422" not in c]

    # The call ends, and her side of the house tells the story.
    desk.page.locator("#end-call summary").click()
    desk.page.get_by_role("button", name="End the call").click()
    expect(handset.phone).to_have_attribute("data-state", "ended")
    handset.hears("Thank you for calling")
    summary = handset.messages.locator(".message", has_text="This was done on the call").first
    expect(summary).to_contain_text("This wasn't you?")

    portal = customers.new_page()
    portal.goto(demo.url)
    with customers.expect_page() as opened:
        portal.get_by_role("button", name="Ana Torres").click()
    portal = opened.value
    story = portal.locator(".calls > li")
    expect(story).to_have_count(1)
    for sentence in ["you: PIN", "you: texted code", "The postal address on your account was changed, by Robin", "The call ended"]:
        expect(story).to_contain_text(sentence)
    # A story for a customer: no ids, no names of policies, no jargon.
    assert not re.search(r"[a-z]+_[0-9a-z]|\[|attestation", story.inner_text()), story.inner_text()
    expect(portal.get_by_role("region", name="What we told you")).to_contain_text("A change was undone.")

    agents.close()
    bodies = [e["response"]["content"].get("text", "") for e in json.loads(har.read_text())["log"]["entries"]]
    assert len(bodies) > 10, "the desk's traffic was recorded"
    for body in bodies:
        none_of([code, wrong], body, "what was sent to the desk")


def picture(shots: Path, name: str, handset: Handset, desk: Desk) -> None:
    screenshot(handset.page, shots / f"five-minutes-{name}-handset.png")
    screenshot(desk.page, shots / f"five-minutes-{name}-desk.png")


def watch_desk(demo: Demo, cookies: list[dict[str, str]]) -> Stream:
    """The desk's own event stream, read beside the page with the agent's session."""
    http = Http(demo.url)
    http.cookies = {c["name"]: c["value"] for c in cookies}
    return Stream(http, "/desk/events")


def test_five_minutes_by_keyboard(demo: Demo, open_browser: Open) -> None:
    """The agent's part, and the caller's, without a mouse."""
    callers, agents = open_browser(demo.url), open_browser(demo.url)
    handset, desk = Handset(callers, demo.url), Desk(agents, demo.url)
    keys = desk.page.keyboard
    focused = desk.page.locator("*:focus")

    handset.dial("Ana Torres")
    handset.asked("We know the number")
    handset.type("2")
    handset.asked("Please enter your PIN")
    handset.type("4071")
    handset.page.keyboard.press("Enter")
    handset.asked("Please choose what you hear")
    handset.type("4")
    expect(handset.log).to_contain_text("On hold: silence")

    expect(desk.page.locator(".row [data-take]")).to_have_count(1)
    keys.press("t")
    desk.level("authenticated")
    handset.is_talking()

    # What the caller says is compared, never shown.
    keys.press("/")
    expect(focused).to_have_id("heard-value")
    what = desk.page.locator("#heard-what")
    until("the kind is postal code", lambda: what.input_value() == "postal_code" or keys.press("ArrowDown"))
    keys.type("20500")
    keys.press("Enter")
    expect(desk.call.locator(".results")).to_contain_text("match")
    expect(desk.call.locator(".flash")).to_contain_text("Match")
    desk.settled()
    keys.press("Escape")

    # Choose the action by its number, and ask for the proof that it needs.
    address = desk.action("change:address")
    number = address.get_attribute("data-key")
    assert number
    keys.press(number)
    expect(address).to_have_class("action step-up chosen")
    keys.press("s")
    expect(desk.call.locator(".challenge")).to_contain_text("Sent to the number on file")
    handset.asked("The agent cannot hear your keys")
    handset.type(handset.texted_code())
    handset.page.keyboard.press("Enter")
    desk.level("strong")
    handset.is_talking()
    desk.settled()

    keys.press("Escape")
    keys.press(number)
    expect(focused).to_have_id("v-change-address")
    keys.type("9 Cedar Court, Riverton")
    keys.press("Tab")
    keys.type("84065")
    keys.press("Enter")
    expect(address).to_contain_text("done")
    expect(handset.messages).to_contain_text("The postal address on your account was changed")

    # The list of keys opens and closes, and ending asks again.
    desk.settled()
    keys.press("Escape")
    keys.press("?")
    expect(desk.page.locator("#keys")).to_be_visible()
    keys.press("Escape")
    expect(desk.page.locator("#keys")).to_be_hidden()
    keys.press("e")
    expect(focused).to_have_id("end-now")
    keys.press("Enter")
    expect(handset.phone).to_have_attribute("data-state", "ended")
    handset.hears("Goodbye")
