"""Calls over a real Asterisk: its dialplan gives them to us, we tell it by ARI what to do. The caller is
`countersign call`, the agent's telephone an extension that notes every key it hears."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from asterisk import Asterisk, PASSWORD, USER, missing
from helpers import Http, free_port, none_of, until
from installation import PERSONAL, World
from terminal import Terminal

MAYA = "+12025550171"


@pytest.fixture
def asterisk() -> Iterator[Asterisk]:
    why = missing()
    if why:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    it = Asterisk()
    try:
        it.start()
        yield it
    finally:
        it.close()


def new_world(asterisk: Asterisk, tmp_path: Path, more: str = "", sections: str = "") -> World:
    port = free_port()
    password = tmp_path / "asterisk.password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    return World(tmp_path / "installation", f"""
[asterisk]
url = "http://127.0.0.1:{asterisk.http}"
user = "{USER}"
password_file = "{password}"
media_url = "http://127.0.0.1:{port}"
national = "+1"
{more}[asterisk.agent_phones]
robin = "Local/robin@agents/n"
{sections}""", address=f"127.0.0.1:{port}")


@pytest.fixture
def world(asterisk: Asterisk, tmp_path: Path) -> Iterator[World]:
    it = new_world(asterisk, tmp_path)
    yield it
    # Shown if the test fails.
    print(it.said(), asterisk.said())
    it.close()


class Caller(Terminal):
    """One that calls through Asterisk."""

    def __init__(self, asterisk: Asterisk, number: str = MAYA, to: str = "+18005551212") -> None:
        super().__init__(f"sip:{to}@{asterisk.address}", number)

    def answered(self) -> Caller:
        until("something is said", lambda: "something is heard" in self.text)
        return self


@pytest.fixture
def call(asterisk: Asterisk) -> Iterator[object]:
    opened: list[Caller] = []

    def dial(**how: str) -> Caller:
        until("we are connected", lambda: asterisk.applications())
        opened.append(Caller(asterisk, **how))
        return opened[-1].answered()

    yield dial
    for caller in opened:
        caller.close()


def record(world: World) -> str:
    """Every event of every call, as it is exported."""
    return world.installation.run("audit", "export").stdout


def the_call(world: World) -> str:
    """The only call there is."""
    return "call_" + until("a call is on record", lambda: re.search(r'"stream":"call/([0-9a-f]{32})"', record(world)))[1]


def story(world: World, call: str) -> str:
    return world.installation.run("audit", "show", call).stdout


def waiting(desk: Http) -> str | None:
    found = re.search(r'data-call="(call_[0-9a-f]{32})"', desk.get("/desk/list").text)
    return found[1] if found else None


def in_bridge(asterisk: Asterisk) -> list[str]:
    return sorted("agent" if "agent" in channel else "caller" for bridge in asterisk.bridges() for channel in bridge["channels"])


def test_a_whole_call(asterisk: Asterisk, world: World, call) -> None:  # noqa: ANN001
    """Identified by her number, proved by PIN, music, agent, a secret in mid call, and its end at the desk."""
    maya = call(to="28005551212")
    # Barge in, and a digit at a time: a text and a call are refused, then the PIN.
    maya.key("*#*#")
    live = the_call(world)
    until("a PIN is asked for", lambda: "Asked for PIN" in story(world, live))
    maya.key("6402#")
    until("she has proved it", lambda: "Proved: PIN" in story(world, live))
    maya.key("2")
    desk = world.sign_in()
    assert until("she waits", lambda: waiting(desk)) == live
    assert "came in through asterisk with a number (signed, attestation A)" in story(world, live)

    assert desk.act(live, "accept").status == 200
    until("caller and agent are connected", lambda: in_bridge(asterisk) == ["agent", "caller"])
    # A secret in mid call: the agent stays, and is alone.
    assert desk.act(live, "prove", action="", factors="pin").status == 200
    until("the caller is out of the bridge", lambda: in_bridge(asterisk) == ["agent"])
    maya.key("6402#")
    until("they talk on", lambda: in_bridge(asterisk) == ["agent", "caller"])
    assert story(world, live).count("Proved: PIN") == 2
    # Keys while they talk are nobody's either. What is no key is answered when those before it were pressed.
    maya.key("77")
    maya.key("x")
    until("they were pressed", lambda: "these are none" in maya.text)

    assert desk.act(live, "end").status == 200
    assert "The other side hung up." in maya.over()
    until("every channel is gone, the agent's too", lambda: not asterisk.channels() and not asterisk.bridges())
    assert (asterisk.variable("AGENT_UP") != "", asterisk.variable("AGENT_HEARD")) == (True, ""), "no key of the caller has reached the agent"
    assert "The agent ended the call" in story(world, live) or "by the agent" in story(world, live)
    none_of([*PERSONAL, "6402", PASSWORD], world.said(), "what the server wrote")
    none_of(["6402"], asterisk.wrote(), "what Asterisk wrote")


def test_a_call_goes_on_when_we_are_gone_for_a_moment(asterisk: Asterisk, world: World, call) -> None:  # noqa: ANN001
    """Killed in the middle of an entry: the caller stays in Asterisk, and keys on when we are back. One who
    hung up meanwhile is over. When Asterisk itself is gone, so is the call."""
    maya, other = call(to="28005551212"), call(number="+12025550199")
    maya.key("*#*#")
    until("a PIN is asked for", lambda: "pin" in record(world))
    calls = sorted(set(re.findall(r'"stream":"call/([0-9a-f]{32})"', record(world))))
    assert len(calls) == 2
    world.server.kill()
    other.key("")
    other.over()
    world.start()
    until("we are connected", lambda: asterisk.applications())
    maya.key("6402#")
    hers = until("she has proved it", lambda: next((c for c in calls if "Proved: PIN" in story(world, f"call_{c}")), None))
    [his] = [c for c in calls if c != hers]
    until("the other's end is on record", lambda: "The caller hung up" in story(world, f"call_{his}"))
    # The whole switch.
    assert asterisk.process
    asterisk.process.send_signal(signal.SIGKILL)
    asterisk.process.wait(timeout=10)
    asterisk.start()
    until("her end is on record", lambda: "The caller hung up" in story(world, f"call_{hers}"), seconds=30)


def test_whoever_shows_her_number_has_proved_nothing(asterisk: Asterisk, world: World, call) -> None:  # noqa: ANN001
    """A signature that did not hold, with words in the caller's hand that would be a good one."""
    call(to="38005551212")
    live = the_call(world)
    assert "signed, attestation" not in story(world, live)
    assert "Proved" not in story(world, live) and "authenticated" not in story(world, live)
    # Nor has whoever asks for sounds that nobody has told them of.
    here = Http(world.server.url)
    for path in ["/clips/asterisk/", "/clips/asterisk/x.wav", "/clips/asterisk/eyJwIjoibWVudSIsImwiOiJlbiJ9-00000000000000000000000000000000.wav", "/clips/twilio/x.wav"]:
        assert here.get(path).status == 404, path
