"""The check for histories refuses those that must be refused, and takes those that must be taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

import linear
from linear import ACCEPTED, NOTHING, OVER, WRONG, Asked, Challenge, Did, Impossible, Keyed, Model, Moved, Pin, Read, Record, check, check_each


Made = Callable[[Sequence[Did]], Model]


def takes(made: Made, *history: Did) -> None:
    check(made(history))


def refuses(made: Made, *history: Did) -> None:
    with pytest.raises(Impossible):
        check(made(history))


def keyed(began: int, ended: int | None, right: bool, told: str | None = None, call: str = "a", step: str | None = None) -> Did:
    """Every entry is a command of its own unless it says of which one it is."""
    return Did(Keyed(call, step or f"step {began} {ended}", right), began, ended, told)


def wrong(began: int, ended: int | None, told: str | None = None, call: str = "a", step: str | None = None) -> Did:
    return keyed(began, ended, False, told, call, step)


def right(began: int, ended: int | None, told: str | None = None, call: str = "a", step: str | None = None) -> Did:
    return keyed(began, ended, True, told, call, step)


# ── A code ─────────────────────────────────────────────────────────────────────────────────────


def test_a_code_is_accepted_once() -> None:
    code = Challenge
    takes(code, right(0, 1, ACCEPTED))
    refuses(code, right(0, 1, ACCEPTED), right(2, 3, ACCEPTED))
    refuses(code, right(0, 9, ACCEPTED), right(1, 8, ACCEPTED))
    takes(code, right(0, 9, ACCEPTED), right(1, 8, NOTHING))
    takes(code, right(0, 9, NOTHING), right(1, 8, ACCEPTED))
    # Nobody was told of the first, which may be the one that counted.
    takes(code, right(0, None), right(1, 8, NOTHING))
    takes(code, right(0, None), right(1, 8, ACCEPTED))
    # But not one that began when this had been answered.
    refuses(code, right(1, 8, NOTHING), right(9, None))


def test_a_command_that_comes_again_is_answered_as_the_first_time() -> None:
    code = Challenge
    takes(code, right(0, 9, ACCEPTED, step="s"), right(1, 8, ACCEPTED, step="s"), right(10, 11, ACCEPTED, step="s"))
    # Whatever is in it the second time.
    takes(code, wrong(0, 9, WRONG, step="s"), right(1, 8, WRONG, step="s"), right(10, 11, ACCEPTED))
    takes(code, right(0, 1, ACCEPTED, step="s"), wrong(2, 3, ACCEPTED, step="s"))
    refuses(code, right(0, 1, ACCEPTED, step="s"), right(2, 3, WRONG, step="s"))
    refuses(code, wrong(0, 1, WRONG, step="s"), right(2, 3, ACCEPTED, step="s"))
    # The first one's answer was lost.
    takes(code, wrong(0, None, step="s"), right(1, 2, WRONG, step="s"))
    refuses(code, wrong(0, None, step="s"), right(1, 2, OVER, step="s"))


def test_a_code_is_void_after_as_many_wrong_ones_as_are_allowed() -> None:
    code = partial(Challenge, tries=3)
    takes(code, wrong(0, 1, WRONG), wrong(2, 3, WRONG), wrong(4, 5, OVER), right(6, 7, NOTHING))
    refuses(code, wrong(0, 1, WRONG), wrong(2, 3, WRONG), wrong(4, 5, WRONG))
    refuses(code, wrong(0, 1, WRONG), wrong(2, 3, WRONG), wrong(4, 5, OVER), right(6, 7, ACCEPTED))
    # At the same time, in whatever order: the right one may be the last of three, and never the fourth.
    takes(code, wrong(0, 9, WRONG), wrong(1, 9, WRONG), right(2, 9, ACCEPTED))
    refuses(code, wrong(0, 9, WRONG), wrong(1, 9, WRONG), wrong(2, 9, OVER), right(3, 9, ACCEPTED))
    # One of the wrong ones was answered to nobody: then there are two ways it can go on.
    takes(code, wrong(0, 1, WRONG), wrong(2, None), wrong(3, 4, OVER), right(5, 6, NOTHING))
    takes(code, wrong(0, 1, WRONG), wrong(2, None), wrong(3, 4, WRONG), right(5, 6, ACCEPTED))
    refuses(code, wrong(0, 1, WRONG), wrong(2, None), wrong(3, 4, WRONG), wrong(5, 6, WRONG))


def test_wrong_is_never_accepted_and_right_is_never_wrong() -> None:
    code = Challenge
    refuses(code, wrong(0, 1, ACCEPTED))
    refuses(code, right(0, 1, WRONG))
    refuses(code, right(0, 1, OVER))
    refuses(code, right(0, 1, NOTHING))
    refuses(code, right(0, 1, ACCEPTED), wrong(2, 3, WRONG))
    refuses(code, right(0, 1, ACCEPTED), right(2, 3, WRONG))
    refuses(code, right(0, 9, ACCEPTED), wrong(10, 11, OVER))
    takes(code, wrong(0, 9, WRONG), right(1, 8, ACCEPTED))
    # Wrong after it was accepted, in real time.
    refuses(code, right(0, 1, ACCEPTED), wrong(2, 9, WRONG), right(3, 8, NOTHING))


def test_a_limit_of_elsewhere_may_shut_a_code() -> None:
    """The same words as for the last wrong one: whoever hears them does not know which it was."""
    takes(partial(Challenge, limited=True), right(0, 1, OVER), right(2, 3, NOTHING))
    takes(partial(Challenge, limited=True), wrong(0, 1, OVER))
    refuses(partial(Challenge, limited=True), right(0, 1, OVER), right(2, 3, ACCEPTED))
    refuses(partial(Challenge, limited=True), right(0, 1, ACCEPTED), right(2, 3, OVER))
    refuses(partial(Challenge, limited=False), wrong(0, 1, OVER))


# ── A PIN ──────────────────────────────────────────────────────────────────────────────────────


def guesses(times: Sequence[int], call: str, *told: str) -> list[Did]:
    return [wrong(at, at + 1, what, call) for at, what in zip(times, told, strict=True)]


def test_a_sixth_guess_is_not_judged() -> None:
    pin = partial(Pin, limit=5, tries=3)
    five = guesses([0, 2, 4], "a", WRONG, WRONG, OVER) + guesses([6, 8], "b", WRONG, WRONG)
    takes(pin, *five)
    # The words alone do not say whether it was: a third one may be wrong, or not looked at.
    takes(pin, *five, wrong(10, 11, OVER, "b"))
    takes(pin, *five, wrong(10, 11, OVER, "c"))
    refuses(pin, *five, wrong(10, 11, WRONG, "c"))
    refuses(pin, *five, right(10, 11, ACCEPTED, "b"))
    takes(pin, *five, right(10, 11, OVER, "b"))
    # At the same time: six evaluated are one too many in any order.
    refuses(pin, *(wrong(0, 9, WRONG, f"call {n}") for n in range(6)))
    takes(pin, *(wrong(0, 9, WRONG, f"call {n}") for n in range(5)), *(wrong(0, 9, OVER, f"call {n}") for n in range(5, 9)))
    # Refused before five had counted.
    refuses(pin, *guesses([0, 2, 4], "a", WRONG, WRONG, OVER), wrong(6, 7, WRONG, "b"), wrong(8, 9, OVER, "c"))


def test_what_nobody_was_told_of_may_have_counted() -> None:
    pin = partial(Pin, limit=5, tries=3)
    four = [wrong(n, n + 1, WRONG, f"call {n}") for n in range(4)]
    lost = wrong(0, None, call="lost")
    takes(pin, *four, lost, wrong(8, 9, OVER, "x"))
    takes(pin, *four, lost, wrong(8, 9, WRONG, "x"))
    refuses(pin, *four, wrong(8, 9, OVER, "x"))
    # One that is sent later cannot have counted before.
    refuses(pin, *four, wrong(8, 9, OVER, "x"), wrong(10, None, call="lost"))
    # Nor can one count twice.
    refuses(pin, *four[:3], lost, wrong(8, 9, OVER, "x"))
    # What was right sets the count back, also where nobody was told.
    takes(pin, *four, wrong(8, 9, WRONG, "x"), right(8, None, call="lost"), wrong(10, 11, WRONG, "y"))
    takes(pin, *four, right(0, None, call="lost"), wrong(8, 9, WRONG, "x"), wrong(10, 11, WRONG, "y"))
    refuses(pin, *four, wrong(8, 9, WRONG, "x"), wrong(10, 11, WRONG, "y"), right(12, None, call="lost"))


def test_a_right_pin_sets_the_count_back() -> None:
    pin = partial(Pin, limit=5, tries=3)
    four = [wrong(n, n + 1, WRONG, f"call {n}") for n in range(4)]
    takes(pin, *four, right(8, 9, ACCEPTED, "x"), *[wrong(n, n + 1, WRONG, f"call {n}") for n in range(10, 15)], right(20, 21, OVER, "y"))
    refuses(pin, *four, right(8, 9, ACCEPTED, "x"), *[wrong(n, n + 1, WRONG, f"call {n}") for n in range(10, 16)])
    # A limit that begins anew with another node.
    refuses(pin, *four, wrong(8, 9, WRONG, "x"), right(10, 11, ACCEPTED, "y"))


def test_a_pin_is_asked_for_while_it_is_open() -> None:
    pin = partial(Pin, limit=2, tries=3)
    two = [wrong(n, n + 1, WRONG, f"call {n}") for n in (0, 2)]
    asked, not_asked = Did(Asked("x"), 10, 11, True), Did(Asked("x"), 10, 11, False)
    takes(pin, *two, not_asked)
    refuses(pin, *two, asked)
    refuses(pin, two[0], not_asked)
    takes(pin, two[0], wrong(5, None, call="lost"), not_asked)
    # Once it was seen as shut, it stays so.
    refuses(pin, *two, not_asked, Did(Asked("y"), 12, 13, True))
    # Asked for in time, and keyed when it was shut.
    takes(pin, Did(Asked("x"), 0, 1, True), wrong(2, 3, WRONG, "a"), wrong(2, 3, WRONG, "b"), right(10, 11, OVER, "x"), right(12, 13, NOTHING, "x"))


# ── A record ───────────────────────────────────────────────────────────────────────────────────


record, no_record = partial(takes, Record), partial(refuses, Record)


def moved(began: int, ended: int | None, told: int | None = None) -> Did:
    return Did(Moved(f"step {began}"), began, ended, told)


def read(began: int, ended: int, told: int) -> Did:
    return Did(Read("somewhere"), began, ended, told)


def test_a_record_never_goes_backward() -> None:
    record(read(0, 1, 3), read(2, 3, 3), read(4, 5, 7))
    no_record(read(0, 1, 3), read(2, 3, 7), read(4, 5, 3))
    # At the same time, either order will do; but only one.
    record(read(0, 9, 7), read(1, 8, 3))
    no_record(read(0, 9, 7), read(1, 2, 7), read(3, 4, 3))


def test_what_was_acknowledged_is_in_every_later_read() -> None:
    record(moved(0, 1, 3), read(2, 3, 3), moved(4, 5, 6), read(6, 7, 6))
    no_record(moved(0, 1, 3), moved(4, 5, 6), read(6, 7, 3))
    no_record(moved(0, 1, 3), read(2, 3, 0))
    # While it is under way it may be there or not, and once it was seen it is there.
    record(moved(0, 1, 3), moved(2, 9, 6), read(3, 4, 3), read(5, 6, 6))
    no_record(moved(0, 1, 3), moved(2, 9, 6), read(3, 4, 6), read(5, 6, 3))
    # It was lost, and done again with other events.
    no_record(moved(0, 1, 3), moved(2, 3, 6), moved(4, 5, 5))


def test_nobody_sees_what_was_not_sent_yet() -> None:
    no_record(read(0, 1, 3), moved(2, 3, 3))
    no_record(moved(0, 1, 3), read(2, 3, 6), moved(4, 5, 6))
    # What came in between is not of that webhook.
    record(moved(0, 1, 3), read(2, 3, 4), moved(4, 5, 6), read(6, 7, 8))
    # Of one that nobody was told of, anything may be there.
    record(moved(0, 1, 3), moved(2, None), read(3, 4, 3), read(5, 6, 5))


def test_an_answer_that_comes_again_is_the_first_one() -> None:
    record(moved(0, 9, 3), moved(1, 8, 3), moved(10, 11, 6), moved(12, 13, 3), read(14, 15, 6))


# ── The search ─────────────────────────────────────────────────────────────────────────────────


def test_the_order_is_that_of_real_time() -> None:
    # Each of the answers could be, and not in the order in which they came.
    refuses(Challenge, right(0, 1, NOTHING), right(2, 3, ACCEPTED))
    takes(Challenge, right(0, 3, NOTHING), right(2, 3, ACCEPTED))
    refuses(partial(Pin, limit=1), wrong(0, 1, OVER, "a"), wrong(2, 3, WRONG, "b"))
    takes(partial(Pin, limit=1), wrong(0, 3, OVER, "a"), wrong(2, 3, WRONG, "b"))


def test_each_object_by_itself() -> None:
    good, bad = [right(0, 1, ACCEPTED)], [right(0, 1, ACCEPTED), right(2, 3, ACCEPTED)]
    check_each({"one": Challenge(good), "two": Challenge(good), "none": Challenge([])})
    with pytest.raises(Impossible, match=r"two: no order fits") as told:
        check_each({"one": Challenge(good), "two": Challenge(bad)})
    # Which of them do fit is said.
    assert "ok [0..1]" in str(told.value) and "?? [2..3]" in str(told.value)


def test_long_histories_take_no_long_time() -> None:
    """Thousands of operations one after the other, and some at a time with answers that were lost."""
    record(*(read(2 * n, 2 * n + 1, n) for n in range(2000)))
    takes(Pin, *(right(2 * n, 2 * n + 1, ACCEPTED, f"call {n}") for n in range(2000)))
    five = [wrong(k, 9, WRONG, f"call {k}") for k in range(5)]
    storm = [wrong(10 * n + k, 10 * n + 9, OVER, f"call {n} {k}") for n in range(1, 40) for k in range(4)]
    lost = [wrong(50 * k, None, call=f"lost {k}") for k in range(4)]
    takes(Pin, *five, *storm, *lost)
    refuses(Pin, *five, *storm, *lost, wrong(999, 1000, WRONG, "late"))


def test_a_search_that_is_given_up_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MOST", 20)
    with pytest.raises(AssertionError, match="no end is found") as told:
        record(*(read(2 * n, 2 * n + 1, n) for n in range(100)))
    assert not isinstance(told.value, Impossible)
