"""The microphone of the demo's handset: a real browser speaks WebRTC with the telephone line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright, expect

from conftest import FLAGS, Handset, Open, chromium
from helpers import Demo, until
from voice_world import write

# A microphone that hears a tone (its own beep is so short that a look now and then misses it), nobody to ask for it, and connections within this machine.
TALK = [
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns", "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = chromium()
    if path is None:
        needed = os.environ.get("CI") == "true" or os.environ.get("COUNTERSIGN_REQUIRE_BROWSER") == "1"
        (pytest.fail if needed else pytest.skip)("Chromium is not installed: `cargo xtask test` installs it on Debian")
    tone = write(tmp_path_factory.mktemp("microphone") / "tone.wav", [math.sin(n * math.tau * 440 / 8000) / 2 for n in range(8000)])
    b = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *TALK, f"--use-file-for-fake-audio-capture={tone}"])
    yield b
    b.close()


def loud(handset: Handset, who: str) -> float:
    return float(handset.page.evaluate(f"document.querySelector('#level-{who}').value"))


def talk(handset: Handset, who: str) -> None:
    handset.page.get_by_role("radio", name=who).check()
    handset.page.get_by_role("button", name="Talk with your microphone").click()


def live_call(demo: Demo) -> str:
    return until("the call is on the lead's page", lambda: re.search(r"/admin/calls/(call_[0-9a-f]{32})", demo.lead().get("/admin").text))[1]


def test_ana_talks_keys_and_leaves(demo: Demo, open_browser: Open) -> None:
    handset = Handset(open_browser(demo.url), demo.url)
    state = handset.page.locator("#microphone-state")
    talk(handset, "Ana Torres")
    expect(state).to_have_text("Connected: you hear, and can be heard")
    # The prompt is sound on the line, and words on the screen.
    until("the prompt is heard", lambda: loud(handset, "line") > 0.4)
    until("the microphone is heard here", lambda: loud(handset, "you") > 0.2)
    expect(handset.phone).to_have_attribute("data-state", "asked")

    # Keys go as events beside the sound: nothing of them is posted.
    posted: list[str] = []
    handset.page.on("request", lambda r: posted.append(r.url) if r.method == "POST" else None)
    handset.type("2")
    handset.asked("Please enter your PIN")
    expect(handset.page.locator("#wants")).to_have_text("secret: shown as dots")
    handset.press("4071#")
    handset.asked("Please choose what you hear")
    expect(handset.log.locator(".keyed", has_text="••••")).to_be_visible()
    handset.type("1")
    expect(handset.phone).to_have_attribute("data-state", "waiting")
    assert not posted, posted
    live = live_call(demo)
    story = demo.lead().get(f"/admin/calls/{live}").text
    assert "Proved: PIN" in story and "sip" in story
    assert '<li class="row' in demo.sign_in("Robin").get("/desk/list").text
    until("the music is heard", lambda: loud(handset, "line") > 0.2)

    mute = handset.page.get_by_role("button", name="Mute")
    mute.click()
    expect(mute).to_have_attribute("aria-pressed", "true")
    expect(state).to_contain_text("nobody hears you")
    until("the microphone is still", lambda: loud(handset, "you") == 0)
    mute.click()
    expect(state).to_contain_text("can be heard")

    # Who closes the page has hung up.
    handset.page.close(run_before_unload=False)
    until("its end is on record", lambda: "The caller hung up" in demo.lead().get(f"/admin/calls/{live}").text)
    until("nobody is left on the line", lambda: "countersign_live_calls 0" in demo.http.get("/metrics").text)


def test_a_page_that_cannot_talk_says_so_and_keeps_its_keys(demo: Demo, open_browser: Open) -> None:
    for script, words in [
        ("if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError'); }", "No microphone was found"),
        ("if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }", "You did not allow the microphone"),
        ("delete window.RTCPeerConnection", "This browser has no microphone"),
    ]:
        context = open_browser(demo.url)
        context.add_init_script(script)
        handset = Handset(context, demo.url)
        button = handset.page.get_by_role("button", name="Talk with your microphone")
        if button.is_enabled():
            talk(handset, "Ana Torres")
        expect(handset.page.locator("#microphone-state")).to_contain_text(words)
        handset.dial("Ana Torres")
        handset.asked("We know the number")
        expect(button).to_be_disabled()
        handset.page.get_by_role("button", name="Hang up").click()
        expect(handset.phone).to_have_attribute("data-state", "ended")


def test_the_line_ends_the_call_for_the_page_too(demo: Demo, open_browser: Open) -> None:
    handset = Handset(open_browser(demo.url), demo.url)
    talk(handset, "Ana Torres")
    handset.asked("We know the number")
    handset.type("2")
    handset.asked("Please enter your PIN")
    handset.type("4071#")
    handset.asked("Please choose what you hear")
    handset.type("4")
    live = live_call(demo)
    robin = demo.sign_in("Robin")
    until("she waits", lambda: live in robin.get("/desk/list").text)
    assert robin.act(live, "accept").status == 200
    handset.is_talking()
    assert robin.act(live, "end").status == 200
    expect(handset.phone).to_have_attribute("data-state", "ended")
    expect(handset.page.locator("#microphone-state")).to_have_text("The microphone is off.")
    expect(handset.page.get_by_role("button", name="Talk with your microphone")).to_be_enabled()
