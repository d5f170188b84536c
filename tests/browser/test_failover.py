"""The primary database is lost under load, with its machine: a standby takes over, the nodes find it,
and nothing that was acknowledged is missing."""

from __future__ import annotations

import http.client
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cluster import APP, Cluster, missing
from conftest import keep_words
from helpers import Http, Reply, free_port, until
from histories import CODE, PIN, Entry, Notebook, Noting, codes, length, other_answer, pin, record, verdict
from installation import PUBLIC, World
from linear import ACCEPTED, NOTHING, WRONG, Did, Impossible, Read, check, check_each
from nodes_world import MAYA, events_of_calls, texted, texted_once, verifies
from twilio_world import Caller


class AtTheFront(Caller):
    """Twilio, for which there is one address: HAProxy's. It sends again what was not answered."""

    seen: list[float]

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                reply = super().send(path, form, signature)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if reply.status < 500:
                self.seen.append(time.monotonic())
                return reply
            time.sleep(0.05)
        raise AssertionError(f"nobody takes {path} for 90 s")


class Noted(Noting, AtTheFront):
    """Notes down what it is told."""

    def __init__(self, url: str, number: str, notes: Notebook, seen: list[float]) -> None:
        super().__init__(url, PUBLIC, number)
        self.notes, self.seen = notes, seen


# Each of them calls once, so that a text that comes late is known by its number.
TEXTED = [{"account_number": f"3{n:07}", "name": f"Nora Example{n}", "language": "en", "mobile": f"+1202555{n:04}"} for n in range(4000, 7000)]


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cluster, World]]:
    if lacks := missing():
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)(f"not installed: {', '.join(lacks)}; `cargo xtask test` installs them on Debian")
    ports = [free_port() for _ in range(3)]
    cluster = Cluster(tmp_path / "cluster", ports)
    for service in cluster.services:
        keep_words(request, service)
    world = None
    try:
        cluster.start()
        password = tmp_path / "database.password"
        password.write_text(APP[1])
        password.chmod(0o600)
        world = World(tmp_path / "world", store=f'postgres = "{cluster.hosts()}"\npassword_file = "{password}"')
        keep_words(request, world.server)
        done = world.installation.run("import", world.installation.customers(TEXTED, "more.csv"))
        assert done.returncode == 0, done.stderr
        # Three nodes at the places that HAProxy knows; the third reaches the database through HAProxy.
        world.servers.pop().stop()
        config = world.installation.config
        plain = config.read_text()
        for n, port in enumerate(ports):
            text = plain.replace('address = "127.0.0.1:0"', f'address = "127.0.0.1:{port}"')
            config.write_text(text.replace(cluster.hosts(), cluster.through_haproxy()) if n == 2 else text)
            keep_words(request, world.start())
        config.write_text(plain)
        yield cluster, world
    finally:
        if world:
            world.close()
        cluster.close()


def test_the_primary_is_lost_and_calls_go_on(ground: tuple[Cluster, World], record_property) -> None:  # noqa: ANN001
    cluster, world = ground
    front = f"http://127.0.0.1:{cluster.web}"
    until("the nodes are ready", lambda: Http(front).get("/desk/sign-in").status == 200)
    assert Http(front).get("/metrics").status == 404 and Http(front).get("/readyz").status == 404, "not for the public"
    seen: list[float] = []
    finished: list[str] = []
    wrong: list[BaseException] = []
    over = threading.Event()
    notes, codes_of, lines = Notebook(), dict[str, str](), iter(TEXTED)

    def play(seed: int) -> None:
        dice = random.Random(seed)
        try:
            while not over.is_set():
                # Half of them have a PIN, and mistype it now and then; half of them get a code.
                if seed % 2:
                    caller = Noted(front, MAYA, notes, seen)
                    caller.proves_by_pin(*dice.choice([["6402"], ["6402"], ["9999", "6402"]]))
                else:
                    caller = Noted(front, next(lines)["mobile"], notes, seen)
                    if code := caller.proves_by_code(partial(texted, world, caller.number), dice):
                        codes_of[caller.sid] = code
                finished.append(caller.sid)
                time.sleep(dice.random() / 4)
        except BaseException as e:  # noqa: BLE001
            wrong.append(e)

    players = [threading.Thread(target=play, args=(seed,), daemon=True) for seed in range(4)]
    for player in players:
        player.start()
    gaps: list[float] = []
    for _ in range(2):
        until("calls go on", lambda: wrong or len(finished) > 5 * (len(gaps) + 1), seconds=60)
        victim = until("a primary with a synchronous standby", lambda: cluster.synchronous() and cluster.primary(), seconds=120)
        lost_at = time.monotonic()
        victim.lost()
        until("a standby has taken over", lambda: cluster.primary(), seconds=120)
        until("somebody is answered again", lambda: wrong or any(at > lost_at + 1 for at in seen[-50:]) and time.monotonic() > lost_at + 3, seconds=120)
        # The longest time in which nobody was answered, from the loss on.
        later = sorted(at for at in seen if at > lost_at - 1)
        gaps.append(max(b - a for a, b in zip(later, later[1:], strict=False)))
        # The machine comes back, with a database that may know more than the new primary: it is rewound.
        victim.start()
        until("three database nodes again", lambda: cluster.standbys() == 2 and cluster.primary(), seconds=180)
    over.set()
    for player in players:
        player.join(timeout=120)
    assert not wrong, wrong
    print(f"failover: nobody was answered for {', '.join(f'{gap:.1f} s' for gap in gaps)}; {len(finished)} calls ended meanwhile")
    record_property("failover_gaps", gaps)
    assert all(gap < 60 for gap in gaps), gaps

    # Nothing that was acknowledged is missing, and nothing is there twice.
    calls = events_of_calls(world)
    ended = [events for events in calls.values() if any(e["type"] == "ended" for e in events)]
    assert len(ended) >= len(finished), (len(ended), len(finished))
    for events in calls.values():
        kinds = Counter(e["type"] for e in events)
        assert kinds["started"] == 1 and kinds["ended"] <= 1 and kinds["proved"] <= 1, kinds
    verifies(world)
    texted_once(world)
    fits_together(world, calls, notes.entries(), codes_of)


def fits_together(world: World, calls: dict[str, list[dict]], entries: list[Entry], codes_of: dict[str, str]) -> None:
    """What callers were told is what one server could have told them, and the record has all of it."""
    check(pin(entries, MAYA, "6402"))
    check_each({f"the code of {call}": code for call, code in codes(entries, codes_of).items()})
    told = Counter((e.asked, verdict(e.answer)) for e in entries if e.keyed and e.keyed != "*")
    print(f"failover: {len(entries)} webhooks; {dict(told)}")
    assert told[CODE, ACCEPTED] >= 5 and told[CODE, WRONG] >= 1 and told[PIN, WRONG] >= 1, told
    # Whose record is whose is known by the text.
    texts = {re.findall(r"message=(msg_\w+)", form["StatusCallback"])[0]: form["To"] for form in world.twilio.asked("Messages.json")}
    of_line = {texts.get(e["challenge"]["message"]): events for events in calls.values() for e in events if e["type"] == "challenged"}
    for sid in codes_of:
        of_call = [e for e in entries if e.call == sid]
        events = of_line[of_call[0].line]
        now = time.monotonic_ns()
        check(record(of_call, [Did(Read("the record"), now, now, len(events))]))
    # A server that lost what it had said, or took a code twice, would have been found.
    with pytest.raises(Impossible):
        check(record(of_call, [Did(Read("the record"), now, now, max(length(e.answer) or 0 for e in of_call) - 1)]))
    again = [e for e in entries if e.asked == CODE and e.keyed and e.keyed == codes_of.get(e.call) and verdict(e.answer) == NOTHING]
    assert again
    with pytest.raises(Impossible):
        check_each(codes(other_answer(entries, again[0], ACCEPTED), codes_of))


def test_servers_say_what_is_missing_without_a_primary(tmp_path: Path) -> None:
    """A node that is started while there is no primary says so; it serves nothing."""
    world = None
    try:
        port = free_port()
        with pytest.raises(AssertionError) as failed:
            world = World(tmp_path / "world", store=f'postgres = "postgres://countersign@127.0.0.1:{port}/countersign?target_session_attrs=read-write"')
        assert "127.0.0.1" in str(failed.value) or "connect" in str(failed.value)
    finally:
        if world:
            world.close()

