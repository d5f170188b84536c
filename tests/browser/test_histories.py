"""What callers are told while nodes die and connections end is what one server could have told them that
does one thing after the other: no code is accepted twice, no limit is exceeded, no answer contradicts one
that was given before, and no record goes backward."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from helpers import until
from histories import CODE, PIN, READ_OUT, Notebook, Noting, codes, look, other_answer, pin, question, record, together, verdict
from installation import PASSWORD, World
from linear import ACCEPTED, NOTHING, OVER, WRONG, Did, Impossible, check, check_each
from nodes_world import MAYA, Cutting, Persistent, events_of_calls, export, nodes, one_dies, texted, texted_once, verifies, way  # noqa: F401

HOW = ["nodes die", "connections end"]
CALL = re.compile(r'data-call="(call_[0-9a-f]{32})"')


class Noted(Noting, Persistent):
    """Notes down, and has a fallback address."""

    def __init__(self, world: World, notes: Notebook, number: str, dice: random.Random) -> None:
        super().__init__(world, number, dice)
        self.notes = notes

    def to_the_pin(self) -> bool:
        """Calls, and asks for another way until a PIN is asked for. False: it is shut."""
        asked = self.arrive()
        while question(asked.text) in (CODE, READ_OUT):
            asked = self.key("*")
        return question(asked.text) == PIN


def customer(n: int, pin: str = "") -> dict[str, str]:
    return {
        "account_number": f"3000{n:04}", "name": f"Nora Example{n}", "postal_code": "02719", "language": "en",
        "mobile": f"+1202555{4000 + n}", "email": f"c{n}@example.com", "pin": pin,
    }


class Trouble:
    """Three nodes over one schema, and what is done to them while callers are at it."""

    def __init__(self, request: pytest.FixtureRequest, world: World, way: Cutting | None) -> None:
        self.request, self.world, self.way = request, world, way
        self.dice, self.died = random.Random(17), 0

    def during(self, *jobs: Callable[[], object]) -> None:
        """Does all of these at the same time, and the worst meanwhile."""
        with self.way.at_random(self.dice) if self.way else nullcontext():
            together(*jobs, meanwhile=self._worst)
        assert self.enough, (self.died, self.way and self.way.cuts)

    @property
    def enough(self) -> bool:
        """Whether callers have seen enough of it: they go on until then."""
        return min(self.way.cuts["before"], self.way.cuts["after"]) >= 20 if self.way else self.died >= 5

    def _worst(self) -> None:
        time.sleep(self.dice.uniform(0.1, 0.5))
        if not self.way and self.died < 10:
            one_dies(self.request, self.world, self.dice, self.died)
            self.died += 1


@contextmanager
def trouble(request: pytest.FixtureRequest, folder: Path, how: str, way: Cutting) -> Iterator[Trouble]:
    cut = how == "connections end"
    # Nobody's time is over while others are slow.
    patient = "[calls]\nlongest_silence = 1_800_000\nchallenge_life = 600_000\nthrottle_window = 3_600_000\n"
    with nodes(request, folder, 3, way.address if cut else None, patient) as world:
        yield Trouble(request, world, way if cut else None)


# ── Guesses and codes ──────────────────────────────────────────────────────────────────────────


def guess(bad: Trouble, notes: Notebook, number: str, seed: int, right: str | None) -> None:
    """Calls of somebody who tries PINs: one after the other, two at once in the same webhook, or one whose answer
    does not reach them. With `right` they know it, and key it now and then."""
    dice, calls = random.Random(seed), 0

    def one() -> str:
        return right if right and dice.random() < 0.3 else f"{dice.randrange(7000, 9999)}"

    while calls < 3 or not bad.enough:
        calls += 1
        caller = Noted(bad.world, notes, number, dice)
        asked = caller.to_the_pin()
        while asked:
            if dice.random() < 0.1:
                caller.leaves(one(), after=dice.uniform(0, 0.05))
                break
            if dice.random() < 0.3:
                answers = caller.key_at_once((caller.action, one()), (caller.action, one()))
                assert len({answer.text for answer in answers}) == 1, "one command has one answer"
                now = caller.take(answers[0])
            else:
                now = caller.key(one())
            asked = question(now.text) == PIN
        caller.completed()


def key_codes(bad: Trouble, notes: Notebook, numbers: Iterator[str], seed: int, texts: dict[str, str]) -> None:
    """Calls of customers to whom codes are texted. Each calls once, so that a text that comes late is known by
    its number."""
    dice, calls = random.Random(seed), 0
    while calls < 4 or not bad.enough:
        calls += 1
        caller = Noted(bad.world, notes, next(numbers), dice)
        if code := caller.proves_by_code(partial(texted, bad.world, caller.number), dice):
            texts[caller.sid] = code


@pytest.mark.parametrize("how", HOW)
def test_what_callers_are_told_fits_together(request: pytest.FixtureRequest, tmp_path: Path, way: Cutting, how: str) -> None:
    """Three accounts whose PIN is guessed at by three at once, and customers whose code is keyed by several at once."""
    pins = {f"+1202555{4000 + n}": f"64{n:02}" for n in range(3)}
    customers = [customer(n, pin) for n, pin in enumerate(pins.values())] + [customer(n) for n in range(3, 600)]
    texted_to = iter([customer["mobile"] for customer in customers[3:]])
    # Nobody who calls from here knows the PIN.
    strange = next(iter(pins))
    notes, texts = Notebook(), dict[str, str]()
    with trouble(request, tmp_path / "world", how, way) as bad:
        world = bad.world
        done = world.installation.run("import", world.installation.customers(customers, "more.csv"))
        assert done.returncode == 0, done.stderr
        # But somebody was asked for it while it was open, and knows it after all.
        last = Noted(world, notes, strange, random.Random(1))
        assert last.to_the_pin()
        bad.during(
            *(partial(guess, bad, notes, line, seed, None if line == strange else digits) for line, digits in pins.items() for seed in range(3)),
            *(partial(key_codes, bad, notes, texted_to, seed, texts) for seed in range(3)),
        )
        # It is not asked for any more, so whoever was asked before keys it in vain.
        late = Noted(world, notes, strange, last.dice)
        assert not late.to_the_pin()
        last.key(pins[strange])
        for caller in (late, last):
            caller.completed()
        entries = notes.entries()
        check_each({f"the PIN of {line}": pin(entries, line, digits) for line, digits in pins.items()})
        check_each({f"the code of {call}": code for call, code in codes(entries, texts).items()})
        the_record_says_the_same(world)

    told = Counter((e.asked, verdict(e.answer)) for e in entries if e.keyed and e.keyed != "*")
    print(f"{how}: {len(entries)} webhooks, {sum(e.ended is None for e in entries)} that nobody was told of; {dict(told)}")
    assert told[PIN, WRONG] >= 8 and told[PIN, OVER] >= 2 and told[CODE, ACCEPTED] >= 3, told
    # What a broken server would have said is not taken.
    in_the_end = next(e for e in reversed(entries) if e.call == last.sid and e.asked == PIN)
    assert verdict(in_the_end.answer) == OVER, "it is shut by then"
    sixth = replace(in_the_end, keyed="7000")
    for notes_of, which, lie in ((entries, in_the_end, ACCEPTED), ([sixth if e is in_the_end else e for e in entries], sixth, WRONG)):
        with pytest.raises(Impossible):
            check(pin(other_answer(notes_of, which, lie), strange, pins[strange]))
    again = [e for e in entries if e.asked == CODE and e.keyed and e.keyed == texts.get(e.call) and verdict(e.answer) == NOTHING]
    assert len(again) >= 3
    for e in again:
        with pytest.raises(Impossible):
            check_each(codes(other_answer(entries, e, ACCEPTED), texts))


def the_record_says_the_same(world: World) -> None:
    """No five wrong PINs of an account are followed by another before a right one, no code proves twice, no text
    went twice, and the log verifies."""
    verifies(world)
    texted_once(world)
    events_of_calls(world)
    account, kind, wrong, proved = dict[str, str](), dict[str, str](), Counter[str](), Counter[str]()
    for line in export(world):
        of, event = line["stream"], line["event"]
        match event["type"]:
            case "identified":
                account[of] = event["account"]
            case "challenged":
                kind[event["challenge"]["id"]] = event["challenge"]["kind"]
            case "challenge_failed" if kind[event["challenge"]] == "pin":
                wrong[account[of]] += 1
                assert wrong[account[of]] <= 5, line
            case "proved":
                proved[event["challenge"]] += 1
                if event["kind"] == "pin":
                    wrong[account[of]] = 0
    assert set(proved.values()) == {1}, proved
    assert max(wrong.values()) == 5, wrong


# ── Records ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", HOW)
def test_no_record_goes_backward(request: pytest.FixtureRequest, tmp_path: Path, way: Cutting, how: str) -> None:
    """Callers who wait and choose other music again and again, and a lead who looks at their calls on whichever
    node: whoever was answered finds it in every later look, and nobody sees less than somebody saw before."""
    notes, dice = Notebook(), random.Random(23)
    looks: dict[str, list[tuple[Did, list[str]]]] = {}
    with trouble(request, tmp_path / "world", how, way) as bad:
        world = bad.world
        lead = world.sign_in(name="lena", totp=world.installation.add_agent("lena", "lead", PASSWORD))
        callers = dict[str, Noted]()
        for seed in range(3):
            caller = Noted(world, notes, MAYA, random.Random(seed))
            assert caller.to_the_pin() and verdict(caller.key("6402").text) == ACCEPTED
            caller.key("1")
            # Any node may be asked, and has heard of the call in a moment.
            new = until("the call waits", lambda: [call for call in CALL.findall(lead.get("/desk/list").text) if call not in callers])
            callers[new[0]] = caller
        playing = set(callers)

        def choose(call: str) -> None:
            try:
                chosen = 0
                while chosen < 25 or not bad.enough:
                    chosen += 1
                    callers[call].key(f"{1 + chosen % 4}")
            finally:
                playing.discard(call)

        def watch(seed: int) -> None:
            dice = random.Random(seed)
            while playing:
                call = dice.choice(list(callers))
                if seen := look(world, lead, call, dice):
                    looks.setdefault(call, []).append(seen)

        bad.during(*(partial(choose, call) for call in callers), *(partial(watch, seed) for seed in range(3)))
        for call, caller in callers.items():
            final = until("somebody shows it", lambda call=call: look(world, lead, call, dice))
            looks[call].append(final)
            events = events_of_calls(world)[f"call/{call.removeprefix('call_')}"]
            assert len(events) == final[0].told
            for did, lines in looks[call]:
                assert lines == final[1][: did.told], "what stood there once is what stands there now"
            of_call = [e for e in notes.entries() if e.call == caller.sid]
            reads = [did for did, _ in looks[call]]
            check(record(of_call, reads))
            # One that saw less than it must is not taken, nor one that saw what was not there yet.
            last = reads[-1]
            for lie in (replace(last, told=last.told - 1), replace(reads[0], told=last.told)):
                with pytest.raises(Impossible):
                    check(record(of_call, [*(did for did in reads if did not in (last, reads[0])), lie]))
        print(f"{how}: {sum(map(len, looks.values()))} looks")
        verifies(world)
