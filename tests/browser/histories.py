"""What callers of whole nodes note down: when they sent what, and what they were told. From it the
histories are made that linear.py checks."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from helpers import Http, Reply
from installation import World
from linear import ACCEPTED, NOTHING, OVER, WRONG, Asked, Challenge, Did, Keyed, Moved, Pin, Read, Record
from twilio_world import Caller

# What a call asks for.
PIN, CODE, READ_OUT, ELSE = "a PIN", "a texted code", "a code that was read out", "something else"

SAID = {ACCEPTED: "that was accepted.", WRONG: "Please try again.", OVER: "No more tries are possible this way."}


def question(answer: str) -> str:
    """What is asked for now."""
    asked = {"Please enter your PIN": PIN, "We have just texted a code": CODE, "We are ringing the number on file": READ_OUT}
    return next((what for words, what in asked.items() if words in answer), ELSE)


def verdict(answer: str) -> str:
    """What an entry was told."""
    return next((what for what, words in SAID.items() if words in answer), NOTHING)


def length(answer: str) -> int | None:
    """How many events the call had, which our addresses say."""
    found = re.search(r"/twilio/(?:step|resume)\?n=(\d+)", answer)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Entry:
    """One webhook of a call, sent while this was asked. Without an end nobody was answered."""

    line: str
    call: str
    path: str
    keyed: str | None
    asked: str | None
    began: int
    ended: int | None = None
    answer: str = ""


class Notebook:
    """Kept by all callers together."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._lock = threading.Lock()

    def begin(self, line: str, call: str, path: str, keyed: str | None, asked: str | None) -> int:
        with self._lock:
            self._entries[len(self._entries)] = Entry(line, call, path, keyed, asked, time.monotonic_ns())
            return len(self._entries) - 1

    def end(self, place: int, answer: str) -> None:
        now = time.monotonic_ns()
        with self._lock:
            self._entries[place] = replace(self._entries[place], ended=now, answer=answer)

    def entries(self) -> list[Entry]:
        """In the order in which they began."""
        with self._lock:
            return list(self._entries.values())


class Noting(Caller):
    """A caller who notes down. What is sent again until somebody answers is one entry."""

    notes: Notebook

    def begin(self, path: str, form: dict[str, str]) -> int:
        return self.notes.begin(self.number, self.sid, path, form.get("Digits"), question(self.now.text) if self.now else None)

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        place = self.begin(path, form)
        reply = super().send(path, form, signature)
        self.notes.end(place, reply.text)
        return reply

    def keyed(self, digits: str) -> dict[str, str]:
        return self.form(Digits=digits, FinishedOnKey="#")

    def key_at_once(self, *requests: tuple[str, str]) -> list[Reply]:
        """Several webhooks at the same time, each with its address and what was keyed."""
        answers: list[Reply] = []
        together(*(lambda path=path, digits=digits: answers.append(self.send(path, self.keyed(digits))) for path, digits in requests))
        return answers

    def proves_by_code(self, texts: Callable[[], list[str]], dice: random.Random, patience: float = 10) -> str | None:
        """A whole call: keys the code that comes, sometimes wrong ones first, and then in several webhooks at
        once, of which two are one command and one is another. None: no code came."""
        code = None
        if question(self.arrive().text) == CODE:
            # A text whose sender died may have gone, so it is not sent again: then none comes.
            deadline = time.monotonic() + patience
            while not (came := texts()) and time.monotonic() < deadline:
                time.sleep(0.02)
            if came:
                code = came[0]
                for _ in range(dice.choice([0, 0, 1, 2])):
                    self.key(f"{(int(code) + 1) % 1_000_000:06}")
                path, step = self.action, length(self.action) or 0
                later = [path.replace(f"n={step}", f"n={step + n}") for n in (1, 2)]
                self.key_at_once((path, code), (path, code), (later[0], code))
                # And once more when all that is over.
                self.send(later[1], self.keyed(code))
        self.completed()
        return code

    def leaves(self, digits: str, after: float) -> None:
        """Sends an entry, and is gone before the answer comes."""
        form = self.keyed(digits)
        body, headers = self.signed(self.action, form)
        self.begin(self.action, form)
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=15)
        try:
            connection.request("POST", self.action, body, headers)
            time.sleep(after)
        except OSError:
            pass
        finally:
            connection.close()


def together(*jobs: Callable[[], object], meanwhile: Callable[[], object] | None = None) -> None:
    """Does all of these at the same time, and `meanwhile` again and again until they are done."""
    wrong: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as e:  # noqa: BLE001
            wrong.append(e)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 180
    while not wrong and any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        if meanwhile:
            meanwhile()
        else:
            time.sleep(0.02)
    # Whoever waits for the worst to have happened would wait for ever.
    assert not wrong, wrong
    assert not any(thread.is_alive() for thread in threads), "not done after three minutes"


# ── Histories ──────────────────────────────────────────────────────────────────────────────────


def tried(entries: Iterable[Entry], what: str, right: Callable[[Entry], bool]) -> list[Did]:
    """Everything that was keyed while this was asked."""
    return [
        Did(Keyed(e.call, e.path, right(e)), e.began, e.ended, None if e.ended is None else verdict(e.answer))
        for e in entries if e.asked == what and e.keyed not in (None, "*")
    ]


def pin(entries: Iterable[Entry], line: str, digits: str) -> Pin:
    """The PIN of the account with this line, on all of its calls."""
    entries = [e for e in entries if e.line == line]
    history = tried(entries, PIN, lambda e: e.keyed == digits)
    for e in entries:
        # The machine has asked for what comes before a PIN, and goes on: to the PIN, unless it is shut.
        before = e.asked in (None, CODE, READ_OUT) and (e.keyed is not None or e.path == "/twilio/voice")
        goes_on = e.ended is not None and verdict(e.answer) in (NOTHING, OVER) and "<Gather" in e.answer
        if before and goes_on and question(e.answer) in (PIN, ELSE):
            history.append(Did(Asked(e.call), e.began, e.ended, question(e.answer) == PIN))
    return Pin(history)


def codes(entries: Iterable[Entry], texted: Mapping[str, str]) -> dict[str, Challenge]:
    """The code that was texted for each call."""
    of_call: dict[str, list[Entry]] = {}
    for e in entries:
        of_call.setdefault(e.call, []).append(e)
    return {call: Challenge(tried(of, CODE, lambda e: e.keyed == texted.get(e.call)), limited=True) for call, of in of_call.items()}


def record(entries: Iterable[Entry], reads: Iterable[Did] = ()) -> Record:
    """The events of one call."""
    history = list(reads)
    for e in entries:
        if e.path == "/twilio/voice" or e.keyed is not None:
            told = length(e.answer)
            history.append(Did(Moved(e.path), e.began, None if told is None else e.ended, told))
    return Record(history)


def other_answer(entries: list[Entry], which: Entry, told: str) -> list[Entry]:
    """The same notes, in which one answer says something else."""
    assert which in entries and verdict(which.answer) != told
    silent = which.answer
    for words in SAID.values():
        silent = silent.replace(words, "")
    assert verdict(silent) == NOTHING
    return [replace(e, answer=f"{silent} {SAID[told]}") if e is which else e for e in entries]


def look(world: World, lead: Http, call: str, dice: random.Random) -> tuple[Did, list[str]] | None:
    """A look at the record of a call on some node, and what stands there. None: it did not answer."""
    servers = list(world.servers)
    if not servers:
        return None
    there = Http(dice.choice(servers).url)
    there.cookies = dict(lead.cookies)
    began = time.monotonic_ns()
    try:
        reply = there.get(f"/desk/call/{call}/panel")
    except (OSError, http.client.HTTPException):
        return None
    if reply.status in (500, 503):
        return None
    assert reply.status == 200, reply
    story = re.search(r'<ol class="story">(.*?)</ol>', reply.text, re.DOTALL)
    lines = re.findall(r"<li>(.*?)</li>", story[1], re.DOTALL) if story else []
    return Did(Read(there.host), began, time.monotonic_ns(), len(lines)), lines
