"""Whether what several callers have seen could have been seen of one server that does one thing after
the other (linearizability, Herlihy and Wing 1990), by the search of Wing and Gong with Lowe's memory.
Each object by itself: what holds for each holds for all.

The models are what callers of whole nodes may be told. Where an answer leaves open what has happened, a
model follows every possibility: a history is refused only if none of them fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

# So many situations are looked at before the search is given up. It never was; but one that has no end
# must not look like one that found nothing.
MOST = 2_000_000


@dataclass(frozen=True)
class Did:
    """One operation, from its beginning to its end. Without an end nobody was told: it may have happened
    at any time after its beginning, or never. What is sent again is one operation, from when it was
    sent first to when it was answered first."""

    op: Hashable
    began: int
    ended: int | None = None
    told: Hashable = None

    def __str__(self) -> str:
        told = "nobody was told" if self.ended is None else self.told
        return f"[{self.began}..{'?' if self.ended is None else self.ended}] {self.op}: {told}"


class Model(Protocol):
    """An object without faults, and what was seen of it."""

    history: Sequence[Did]

    def start(self) -> Hashable: ...

    def step(self, state: Hashable, did: Did) -> Iterable[Hashable]:
        """Every state in which this can leave it, if what was told is what it tells then. None: it tells
        something else. Where nobody was told, anything will do."""
        ...


class Impossible(AssertionError):
    """Nobody can put these operations into an order."""


def check(model: Model) -> None:
    """Finds an order in which one object could have done and told all of this."""
    ops = sorted(model.history, key=lambda did: did.began)
    ends = [float("inf") if did.ended is None else did.ended for did in ops]
    needed = sum(1 << place for place, did in enumerate(ops) if did.ended is not None)

    def nexts(done: int, state: Hashable) -> Iterable[tuple[int, Hashable]]:
        # The next one began before any of the others had ended.
        first_end, open_ones = float("inf"), []
        for place in range((~done & (done + 1)).bit_length() - 1, len(ops)):
            if ops[place].began > first_end:
                break
            if not done >> place & 1:
                open_ones.append(place)
                first_end = min(first_end, ends[place])
        for place in open_ones:
            if ops[place].began <= first_end:
                for after in model.step(state, ops[place]):
                    yield done | 1 << place, after

    tried: set[tuple[int, Hashable]] = set()
    furthest = 0
    ways = [iter([(0, model.start())])]
    while ways:
        here = next(ways[-1], None)
        if here is None:
            ways.pop()
            continue
        if here[0] & needed == needed:
            # Those that nobody was told of need not have happened.
            return
        if here not in tried:
            tried.add(here)
            assert len(tried) < MOST, f"no end is found: {len(ops)} operations, {MOST} situations"
            furthest = max(furthest, here[0], key=lambda done: (done & needed).bit_count())
            ways.append(iter(nexts(*here)))
    lines = [f"  {'ok ' if furthest >> place & 1 else '?? '}{did}" for place, did in enumerate(ops)]
    raise Impossible("no order fits; the longest that was found has those with ok\n" + "\n".join(lines))


def check_each(models: Mapping[Hashable, Model]) -> None:
    """Checks each object's history; the first that does not hold is the error."""
    for name, model in models.items():
        try:
            check(model)
        except Impossible as e:
            raise Impossible(f"{name}: {e}") from None


# ── What callers are told ──────────────────────────────────────────────────────────────────────

ACCEPTED = "accepted"
# Not accepted, and another try.
WRONG = "wrong"
# Not accepted, and no other try: the last one was wrong, or this one was not looked at.
OVER = "over"
# Another question or none at all: nothing was made of it.
NOTHING = "nothing"


@dataclass(frozen=True)
class Keyed:
    """An entry. `step` is the command: sent again, with whatever in it, it is answered as the first time."""

    call: str
    step: str
    right: bool


@dataclass(frozen=True)
class Asked:
    """A call comes to where a PIN is asked for; told is whether it was."""

    call: str


@dataclass(frozen=True)
class Asking:
    """A challenge: how many wrong ones are left, whether it was proved, and what was answered."""

    left: int
    proved: bool = False
    answered: frozenset[tuple[str, str]] = frozenset()

    def tells(self, step: str) -> str | None:
        return dict(self.answered).get(step)

    def told(self, step: str, what: str, **more: object) -> Asking:
        return replace(self, answered=self.answered | {(step, what)}, **more)


def fits(did: Did, told: Hashable) -> bool:
    return did.ended is None or did.told == told


class Challenge:
    """One challenge, for what was keyed on its call: accepted once, and never after `tries` wrong ones.
    `limited`: wrong ones on other calls may have shut it, and then nothing is looked at."""

    def __init__(self, history: Sequence[Did], tries: int = 3, limited: bool = False) -> None:
        self.history, self.tries, self.limited = history, tries, limited

    def start(self) -> Asking:
        return Asking(self.tries)

    def step(self, state: Asking, did: Did) -> Iterable[Asking]:
        op = did.op
        assert isinstance(op, Keyed)
        for told, after in judge(state, op, refused=False):
            if fits(did, told):
                yield after
        if self.limited and state.left and not state.proved:
            for told, after in judge(state, op, refused=True):
                if fits(did, told):
                    yield after


def judge(asking: Asking, op: Keyed, refused: bool) -> Iterable[tuple[str, Asking]]:
    """What one entry is told, and what becomes of its challenge."""
    before = asking.tells(op.step)
    if before is not None:
        yield before, asking
    elif asking.proved or not asking.left:
        # It comes too late, and the machine makes nothing of it.
        yield NOTHING, asking
    elif refused:
        yield OVER, asking.told(op.step, OVER, left=0)
    elif op.right:
        yield ACCEPTED, asking.told(op.step, ACCEPTED, proved=True)
    else:
        told = WRONG if asking.left > 1 else OVER
        yield told, asking.told(op.step, told, left=asking.left - 1)


@dataclass(frozen=True)
class Tally:
    """An account's PIN: how many wrong ones count, and what is asked on each of its calls, with how many
    operations are still to come there."""

    wrong: int = 0
    calls: frozenset[tuple[str, Asking, int]] = frozenset()


class Pin:
    """An account's PIN over all its calls from one line: after `limit` wrong ones nothing is looked at, right
    or wrong, and it is not asked for; a right one before that sets the count back. One call asks for it
    once, and `tries` times."""

    def __init__(self, history: Sequence[Did], limit: int = 5, tries: int = 3) -> None:
        self.history, self.limit, self.tries = history, limit, tries
        self.on_call = Counter(did.op.call for did in history)

    def start(self) -> Tally:
        return Tally()

    def step(self, state: Tally, did: Did) -> Iterable[Tally]:
        op, shut = did.op, state.wrong >= self.limit
        # Whoever keys a PIN was asked for one, if only by an answer that was lost.
        asking, left = next((found[1:] for found in state.calls if found[0] == op.call), (Asking(self.tries), self.on_call[op.call]))
        others = frozenset(found for found in state.calls if found[0] != op.call)

        def then(asking: Asking, wrong: int) -> Tally:
            # What nobody comes back to is forgotten.
            return Tally(wrong, others | {(op.call, asking, left - 1)} if left > 1 else others)

        if isinstance(op, Asked):
            if fits(did, not shut):
                yield then(replace(asking, left=0) if shut else asking, state.wrong)
            return
        judged = asking.left and not asking.proved and asking.tells(op.step) is None and not shut
        for told, after in judge(asking, op, refused=shut):
            if fits(did, told):
                yield then(after, state.wrong if not judged else 0 if op.right else state.wrong + 1)


@dataclass(frozen=True)
class Moved:
    """A webhook that adds events to a call; told is how many the call had when it was answered."""

    step: str


@dataclass(frozen=True)
class Read:
    """A look at the record of a call, wherever; told is how many events it has."""

    where: str


class Record:
    """The events of a call: nobody who looks later sees fewer, whoever was answered finds theirs, and nobody
    sees those of a webhook that was not sent yet. Where those of each end is known from what was told: so
    many are there only once it has happened. Other events may come at any time, such as what became of a
    text."""

    def __init__(self, history: Sequence[Did]) -> None:
        self.history = history
        self.ends = sorted({did.told for did in history if isinstance(did.op, Moved) and did.ended is not None})

    def start(self) -> int:
        return 0

    def _nothing_missed(self, now: int, then: int) -> bool:
        """Whether other events alone can lead from here to there."""
        return not any(now < end < then for end in self.ends)

    def step(self, state: int, did: Did) -> Iterable[int]:
        if did.ended is None:
            # Whatever it added counts among the others.
            yield state
        elif isinstance(did.op, Moved):
            if did.told <= state:
                # Sent again, and answered as the first time: nobody else can have led beyond its end.
                yield state
            elif self._nothing_missed(state, did.told):
                yield did.told
        elif did.told >= state and self._nothing_missed(state, did.told + 1):
            yield did.told
