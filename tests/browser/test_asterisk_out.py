"""Calls that we make, over a real Asterisk: it rings a SIP telephone over a trunk, and whoever answers is in
the same flow as everybody else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asterisk import PASSWORD, Asterisk, missing
from helpers import Http, none_of, until
from installation import PERSONAL, World
from sip_phone import Ringing, SipPhone
from test_asterisk import MAYA, in_bridge, new_world, story

SHOWN, NOT_REACHED = "+12025550100", "the customer was not reached"


@pytest.fixture
def phone() -> Iterator[SipPhone]:
    it = SipPhone()
    yield it
    it.close()


@pytest.fixture
def asterisk(phone: SipPhone) -> Iterator[Asterisk]:
    why = missing()
    if why:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    it = Asterisk(trunk=phone.port)
    try:
        it.start()
        yield it
    finally:
        it.close()


@pytest.fixture
def rings_for() -> int:
    """Milliseconds: longer than we take to come back on a busy machine."""
    return 60_000


@pytest.fixture
def world(asterisk: Asterisk, tmp_path: Path, rings_for: int) -> Iterator[World]:
    it = new_world(asterisk, tmp_path, sections=f"""
[asterisk.out]
to = "PJSIP/{{number}}@trunk"
from = "{SHOWN}"
ring = {rings_for}
""")
    yield it
    # Shown if the test fails.
    print(it.said(), asterisk.said())
    it.close()


def ring(desk: Http, asterisk: Asterisk, phone: SipPhone) -> tuple[str, Ringing]:
    """Robin has Maya rung, about her address; her telephone has got the call."""
    until("we are connected", lambda: asterisk.applications())
    before = len(phone.calls)
    asked = desk.post("/desk/call-out", {"account_number": "20008811", "action": "change:address"})
    assert asked.status == 303 and asked.location.startswith("/desk/call/call_"), asked
    return asked.location.removeprefix("/desk/call/"), phone.rings(before)


def panel(desk: Http, call: str) -> str:
    return desk.get(f"/desk/call/{call}/panel").text


def ended(world: World, asterisk: Asterisk, call: str, how: str) -> None:
    """The call has ended so, on record, and nothing of it is left in Asterisk."""
    try:
        until("its end is on record", lambda: how in story(world, call))
    except AssertionError as e:
        raise AssertionError(story(world, call)) from e
    until("every channel is gone", lambda: not asterisk.channels() and not asterisk.bridges())


def test_a_customer_is_rung_answers_and_proves(asterisk: Asterisk, world: World, phone: SipPhone) -> None:
    """By an agent, at the number on file: she hears who it is, presses a key, talks, proves it in mid call by keys
    that the agent does not hear, and hangs up."""
    desk = world.sign_in()
    live, call = ring(desk, asterisk, phone)
    assert (call.number, call.shown) == (MAYA, SHOWN), "the number on file, and ours"
    assert "telephone rings" in panel(desk, live)
    phone.pick_up(call)
    until("she hears what it is about", lambda: call.hears("we-call.2"))
    assert in_bridge(asterisk) == [] and asterisk.variable("AGENT_UP") == "", "nobody is connected with whoever answers"
    until("she hears what to press", lambda: call.hears("we-call.4"))
    phone.press(call, "1")
    until("customer and agent are connected", lambda: in_bridge(asterisk) == ["agent", "caller"])
    assert call.hears("connecting")
    # That somebody answers there proves nothing.
    assert 'data-level="identified"' in panel(desk, live), panel(desk, live)
    assert desk.act(live, "prove", action="", factors="pin").status == 200
    until("she is out of the bridge", lambda: in_bridge(asterisk) == ["agent"])
    until("a PIN is asked for", lambda: call.hears("enter-pin.1"))
    phone.press(call, "6402#")
    until("they talk on", lambda: in_bridge(asterisk) == ["agent", "caller"])
    assert "Proved: PIN" in story(world, live) and 'data-level="authenticated"' in panel(desk, live)
    phone.press(call, "77")
    phone.hang_up(call)
    ended(world, asterisk, live, "The caller hung up")
    until("her telephone knows that it is over", lambda: call.states == ["rings", "answered", "connected", "over"])
    assert len(phone.calls) == 1, "rung once"
    assert (asterisk.variable("AGENT_UP") != "", asterisk.variable("AGENT_HEARD")) == (True, ""), "no key of hers has reached the agent"
    none_of([*PERSONAL, "6402", PASSWORD], world.said(), "what the server wrote")
    none_of(["6402"], asterisk.wrote(), "what Asterisk wrote")


@pytest.mark.parametrize("rings_for", [5_000])
def test_a_customer_who_is_not_reached(asterisk: Asterisk, world: World, phone: SipPhone) -> None:
    """Busy, not answered, called off by the agent, and somebody who presses nothing that was asked for."""
    desk = world.sign_in()
    phone.busy = True
    live, call = ring(desk, asterisk, phone)
    ended(world, asterisk, live, NOT_REACHED)
    assert call.states == ["busy"]
    phone.busy = False
    # It rings for five seconds, and then no more.
    live, call = ring(desk, asterisk, phone)
    ended(world, asterisk, live, NOT_REACHED)
    until("it rings no more", lambda: call.states == ["rings", "cancelled"])
    # The agent has thought better of it.
    live, call = ring(desk, asterisk, phone)
    assert desk.act(live, "end").status == 200
    until("it rings no more", lambda: call.states == ["rings", "cancelled"])
    ended(world, asterisk, live, "The agent ended the call")
    # Another key than the one that was asked for.
    live, call = ring(desk, asterisk, phone)
    phone.pick_up(call)
    until("it is said what to press", lambda: call.hears("we-call.4"))
    phone.press(call, "2")
    until("they are hung up", lambda: "over" in call.states)
    ended(world, asterisk, live, NOT_REACHED)
    assert asterisk.variable("AGENT_UP") == "", "no agent was connected with any of them"
    assert len(phone.calls) == 4, "each was rung once"
    none_of([*PERSONAL, PASSWORD], world.said(), "what the server wrote")


def test_a_telephone_rings_while_we_are_gone(asterisk: Asterisk, world: World, phone: SipPhone) -> None:
    """Killed while it rings. It rings on, and whoever answers when we are back is spoken to. Asterisk hangs up on
    one who answers before that; they, and one who declines, are on record as not reached, and nobody is rung twice."""
    desk = world.sign_in()

    def rings() -> tuple[str, Ringing]:
        live, call = ring(desk, asterisk, phone)
        until("it is on record that it went out", lambda: "sent." in story(world, live))
        world.server.kill()
        return live, call

    def back() -> None:
        world.start()
        until("we are connected", lambda: asterisk.applications())

    live, call = rings()
    back()
    assert call.states == ["rings"]
    phone.pick_up(call)
    until("she hears what it is about", lambda: call.hears("we-call.2"))
    phone.press(call, "1")
    until("customer and agent are connected", lambda: in_bridge(asterisk) == ["agent", "caller"])
    phone.hang_up(call)
    ended(world, asterisk, live, "The caller hung up")

    live, call = rings()
    back()
    phone.decline(call)
    ended(world, asterisk, live, NOT_REACHED)

    live, call = rings()
    phone.pick_up(call)
    until("Asterisk hangs up", lambda: "over" in call.states)
    back()
    ended(world, asterisk, live, NOT_REACHED)
    assert len(phone.calls) == 3, "each was rung once"
