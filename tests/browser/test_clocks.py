"""A node whose machine's clock is wrong by an hour, among others whose clock is right: limits, codes and
leases end for all of them at the same moment, by the time of their database."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import keep_words
from helpers import Http, until
from histories import CODE, PIN, READ_OUT, question, verdict
from installation import PUBLIC, Server, World
from linear import ACCEPTED, NOTHING, OVER, WRONG
from nodes_world import MAYA, database, events_of_calls, export, nodes, psql, texted, texted_once, verifies
from twilio_world import Caller, Twiml

HOUR = 3600
TEXTED = [{"account_number": f"3000{n:04}", "name": f"Nora Example{n}", "language": "en", "mobile": f"+1202555{n:04}"} for n in range(4000, 4010)]


def faketime() -> Path:
    """A library that changes what time a program sees."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)("libfaketime is not installed: on Debian, `apt-get install libfaketime`")
    return found[0]


@dataclass
class Clocks:
    """Two nodes whose clocks are right, and one whose clock is not."""

    world: World
    off: Server
    right: list[Server]
    # Seconds that it is ahead.
    ahead: int


@pytest.fixture(params=[HOUR, -HOUR], ids=["an hour ahead", "an hour behind"])
def clocks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clocks]:
    library, ahead = faketime(), request.param
    with nodes(request, tmp_path / "world", 2) as world:
        done = world.installation.run("import", world.installation.customers(TEXTED, "more.csv"))
        assert done.returncode == 0, done.stderr
        right = list(world.servers)
        # Only what time it is; how it goes by is the processor's.
        off = world.start(LD_PRELOAD=str(library), FAKETIME=f"{ahead:+}s", FAKETIME_DONT_FAKE_MONOTONIC="1")
        keep_words(request, off)
        yield Clocks(world, off, right, ahead)


def now() -> float:
    """Seconds since the epoch, by the database."""
    return float(psql(database(), "SELECT extract(epoch FROM clock_timestamp())"))


def on(server: Server, caller: Caller) -> Caller:
    """The next webhook goes there."""
    caller.address = server.url
    return caller


def to_the_pin(server: Server) -> tuple[Caller, Twiml]:
    caller = Caller(server.url, PUBLIC, MAYA)
    asked = caller.arrive()
    while question(asked.text) in (CODE, READ_OUT):
        asked = caller.key("*")
    return caller, asked


def clock_off(server: Server) -> float:
    shown = re.search(r"(?m)^countersign_clock_off_seconds (\S+)$", Http(server.url).get("/metrics").text)
    assert shown, "the metric is there"
    return float(shown[1])


def test_a_wrong_clock_is_seen(clocks: Clocks) -> None:
    # The first look after the start is soon, and not at once.
    until("it is seen", lambda: abs(clock_off(clocks.off) - clocks.ahead) < 5)
    assert re.search(r'"level":"WARN".*clock', clocks.off.said()), clocks.off.said()
    for server in clocks.right:
        assert abs(clock_off(server)) < 5
        assert not re.search(r'"level":"WARN".*clock', server.said()), server.said()


@pytest.mark.parametrize("where", ["there", "elsewhere"], ids=["wrong ones at the others", "wrong ones at the one that is off"])
def test_no_limit_begins_anew_with_another_clock(clocks: Clocks, where: str) -> None:
    """Five wrong PINs are five wherever one looks."""
    guessed, looked = (clocks.right[0], clocks.off) if where == "there" else (clocks.off, clocks.right[0])
    # Asked for where somebody looks later, while it is open.
    late, asked = to_the_pin(looked)
    assert question(asked.text) == PIN
    said = []
    for _ in range(2):
        caller, asked = to_the_pin(guessed)
        while question(asked.text) == PIN and len(said) < 5:
            asked = caller.key(f"{7000 + len(said)}")
            said.append(verdict(asked.text))
        on(looked, caller).completed()
    assert said == [WRONG, WRONG, OVER, WRONG, WRONG], said
    assert verdict(late.key("6402").text) == OVER, "the right one counts no more"
    late.completed()
    for server in (clocks.off, *clocks.right):
        caller, asked = to_the_pin(server)
        assert question(asked.text) != PIN, "it is not asked for any more"
        caller.completed()
    kinds = Counter(e["type"] for events in events_of_calls(clocks.world).values() for e in events)
    assert (kinds["challenge_failed"], kinds["proved"]) == (5, 0), kinds


def test_codes_live_and_texts_go_once_by_one_clock(clocks: Clocks) -> None:
    """Codes that one node made are keyed at another while the provider takes its time: each is accepted, once; each
    text goes once, and nobody thinks that its sender has died; no call is ended before its time; and
    what is on record happened when it happened."""
    world, began, dice = clocks.world, now(), random.Random(3)
    # Longer than it takes the others to look for what somebody has left lying about.
    world.twilio.slow = 1.5
    pairs = [(made, keyed) for other in clocks.right for made, keyed in ((other, clocks.off), (clocks.off, other))]
    callers = [Caller(made.url, PUBLIC, customer["mobile"]) for (made, _), customer in zip(pairs * 2, TEXTED, strict=False)]
    for caller in callers:
        assert question(caller.arrive().text) == CODE
    for caller, (_, keyed) in zip(callers, pairs * 2, strict=True):
        code = until("a code is texted", lambda caller=caller: texted(world, caller.number))[0]
        path, form = caller.action, caller.form(Digits=code, FinishedOnKey="#")
        assert verdict(on(keyed, caller).key(code).text) == ACCEPTED
        # Nor does it count again elsewhere, as the same webhook or as another.
        elsewhere = on(dice.choice(world.servers), caller)
        assert verdict(elsewhere.send(path, form).text) == ACCEPTED
        assert verdict(elsewhere.send(path.replace("n=", "n=1"), form).text) in (NOTHING, WRONG)
    # Timers look twice a second, and may be anybody's chore.
    until("every text is known to have gone", lambda: sent(world) == len(callers))
    time.sleep(2)
    assert not any(e["type"] == "ended" for events in events_of_calls(world).values() for e in events), "nobody was silent for that long"
    for caller in callers:
        assert on(dice.choice(world.servers), caller).completed() in (200, 204)
    verifies(world)
    texted_once(world)
    assert [len(texted(world, caller.number)) for caller in callers] == [1] * len(callers)
    kinds = Counter(e["type"] for events in events_of_calls(world).values() for e in events)
    assert kinds["proved"] == kinds["ended"] == len(callers), kinds
    ended = now()
    for line in export(world):
        if line["stream"].startswith("call/"):
            assert began - 2 <= line["event"]["at"] / 1000 <= ended + 2, (line["event"], began, ended)


def sent(world: World) -> int:
    """How many texts are on record as sent."""
    told = Counter(e["delivery"] for events in events_of_calls(world).values() for e in events if e["type"] == "delivered")
    assert set(told) <= {"sent"}, told
    return told["sent"]
