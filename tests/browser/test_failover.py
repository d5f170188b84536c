"""The primary database is lost under load, with its machine: a standby takes over, the nodes find it,
and nothing that was acknowledged is missing."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import APP, Cluster, missing
from conftest import keep_words
from helpers import Http, Reply, free_port, until
from installation import PUBLIC, World
from twilio_world import Caller

MAYA = "+12025550171"


class AtTheFront(Caller):
    """Twilio, for which there is one address: HAProxy's. It sends again what was not answered."""

    def __init__(self, url: str, number: str, seen: list[float]) -> None:
        super().__init__(url, PUBLIC, number)
        self.seen = seen

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                reply = super().send(path, form, signature)
            except OSError:
                time.sleep(0.05)
                continue
            if reply.status < 500:
                self.seen.append(time.monotonic())
                return reply
            time.sleep(0.05)
        raise AssertionError(f"nobody takes {path} for 90 s")


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

    def play() -> None:
        try:
            while not over.is_set():
                caller = AtTheFront(front, MAYA, seen)
                caller.proves_by_pin("6402")
                finished.append(caller.sid)
                time.sleep(random.random() / 4)
        except BaseException as e:  # noqa: BLE001
            wrong.append(e)

    players = [threading.Thread(target=play) for _ in range(4)]
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
    lines = [json.loads(line) for line in world.installation.run("audit", "export").stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    calls: dict[str, list[dict]] = {}
    for line in lines:
        if line["stream"].startswith("call/"):
            calls.setdefault(line["stream"], []).append(line["event"])
    ended = [events for events in calls.values() if any(e["type"] == "ended" for e in events)]
    assert len(ended) >= len(finished), (len(ended), len(finished))
    for events in calls.values():
        assert [e["n"] for e in events] == list(range(1, len(events) + 1)), "no gap, nothing twice"
        kinds = Counter(e["type"] for e in events)
        assert kinds["started"] == 1 and kinds["ended"] <= 1 and kinds["proved"] <= 1, kinds
    until("every event is in the log", lambda: int(Http(world.server.url).get("/log/checkpoint").text.splitlines()[1]) >= len(lines), seconds=60)
    said = world.installation.run("audit", "verify")
    assert said.returncode == 0 and "Verified" in said.stdout, said.stdout + said.stderr
    texts = Counter(text["Body"] for text in world.twilio.texts(MAYA) if re.search(r"\b\d{6}\b", text["Body"]))
    assert all(count == 1 for count in texts.values()), texts


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

