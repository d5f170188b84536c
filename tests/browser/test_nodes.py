"""Several `countersign serve` over one PostgreSQL schema, killed at random while calls go on."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conftest import keep_words
from helpers import Http, Reply, until
from installation import PUBLIC, Server, World
from twilio_world import Caller

MAYA = "+12025550171"
DATABASE = "COUNTERSIGN_TEST_POSTGRES"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    address = os.environ.get(DATABASE)
    if not address:
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)(f"{DATABASE} names no server: `cargo xtask test` starts one")
    # A schema that nobody else has.
    store = f'postgres = "{address}"\nschema = "n{secrets.token_hex(8)}"'
    w = World(tmp_path / "world", store=store)
    keep_words(request, w.server)
    yield w
    w.close()


class Persistent(Caller):
    """Twilio with a fallback address: what one node does not answer is sent to the next."""

    def __init__(self, world: World, number: str, dice: random.Random) -> None:
        super().__init__(world.server.url, PUBLIC, number)
        self.world, self.dice = world, dice

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        for _ in range(400):
            self.address = self.dice.choice(self.world.servers).url
            try:
                reply = super().send(path, form, signature)
            except OSError:
                continue
            if reply.status not in (500, 503):
                return reply
            time.sleep(0.02)
        raise AssertionError(f"no node takes {path}")


def test_any_node_may_die_at_any_time(world: World, request: pytest.FixtureRequest) -> None:
    """Calls walk from node to node, nodes are killed and others come: no event that was acknowledged is
    missing, nobody is texted one code twice, a wrong PIN counts once, and the log verifies."""
    for _ in range(2):
        keep_words(request, world.start())
    finished: list[str] = []
    wrong: list[BaseException] = []
    killed: list[Server] = []
    over = threading.Event()

    def play(seed: int) -> None:
        dice = random.Random(seed)
        try:
            # Until enough nodes have died under them, or nobody kills any more.
            mine = 0
            while mine < 4 or (len(killed) < 2 and not over.is_set()):
                caller = Persistent(world, MAYA, dice)
                caller.proves_by_pin("9999", "6402")
                finished.append(caller.sid)
                mine += 1
        except BaseException as e:  # noqa: BLE001
            wrong.append(e)

    players = [threading.Thread(target=play, args=(seed,)) for seed in range(4)]
    for player in players:
        player.start()
    dice = random.Random(5)
    try:
        while any(player.is_alive() for player in players) and len(killed) < 8:
            time.sleep(dice.uniform(0.1, 0.5))
            victim = dice.choice(world.servers)
            world.servers.remove(victim)
            victim.kill()
            killed.append(victim)
            keep_words(request, world.start(len(killed)))
    finally:
        over.set()
    for player in players:
        player.join(timeout=120)
    assert not wrong, wrong
    assert len(finished) >= 16 and len(killed) >= 2, (len(finished), len(killed))

    # One node is enough to finish what the others began.
    all_is_on_record(world, finished)
    assert not re.search(r'"level":"ERROR"', world.said()), world.said()


def all_is_on_record(world: World, finished: list[str]) -> None:
    """No event is missing or there twice, no wrong entry counted twice, no text was sent twice, and the log verifies."""
    sequencer(world)
    said = world.installation.run("audit", "verify")
    assert said.returncode == 0 and "Verified" in said.stdout, said.stdout + said.stderr
    lines = [json.loads(line) for line in world.installation.run("audit", "export").stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    calls: dict[str, list[dict]] = {}
    for line in lines:
        if line["stream"].startswith("call/"):
            calls.setdefault(line["stream"], []).append(line["event"])
    assert len(calls) == len(finished)
    for events in calls.values():
        assert [e["n"] for e in events] == list(range(1, len(events) + 1)), "no gap, nothing twice"
        kinds = Counter(e["type"] for e in events)
        assert kinds["started"] == 1 and kinds["ended"] == 1 and kinds["proved"] <= 1 and kinds["challenge_failed"] <= 1, kinds
    # A code is made for one challenge: the same words twice are one text sent twice.
    texts = Counter(text["Body"] for text in world.twilio.texts(MAYA) if "code" in text["Body"])
    assert all(count == 1 for count in texts.values()), texts


class Cutting:
    """A way to the database that ends connections: before what was said has come there, or before the answer is back."""

    def __init__(self, host: str, port: int) -> None:
        self.to, self.cut, self.cuts = (host, port), "", Counter()
        self.lock = threading.Lock()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.door.accept()
                far = socket.create_connection(self.to)
            except OSError:
                return
            for way in [("before", near, far), ("after", far, near)]:
                threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(self, when: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                with self.lock:
                    ends = self.cut == when
                    if ends:
                        self.cut = ""
                        self.cuts[when] += 1
                if ends:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


def test_a_network_that_loses_what_is_said(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Between a whole server and its database, in the middle of calls: what was lost before it came is not there, what
    was lost after it is there once, and no caller is the worse for it."""
    address = urlsplit(os.environ[DATABASE])
    way = Cutting(address.hostname or "127.0.0.1", address.port or 5432)
    through = address._replace(netloc=address.netloc.rsplit("@", 1)[0] + f"@127.0.0.1:{way.port}").geturl()
    world = World(tmp_path / "world", store=f'postgres = "{through}"\nschema = "n{secrets.token_hex(8)}"')
    keep_words(request, world.server)
    over, dice, finished = threading.Event(), random.Random(3), []

    def cuts() -> None:
        while not over.wait(dice.uniform(0.01, 0.08)):
            way.cut = dice.choice(["before", "after"])

    cutter = threading.Thread(target=cuts, daemon=True)
    try:
        cutter.start()
        while len(finished) < 8 or min(way.cuts["before"], way.cuts["after"]) < 10:
            caller = Persistent(world, MAYA, dice)
            caller.proves_by_pin("9999", "6402")
            finished.append(caller.sid)
        over.set()
        cutter.join()
        way.cut = ""
        all_is_on_record(world, finished)
    finally:
        over.set()
        world.close()
        way.door.close()


def test_a_code_counts_once_while_nodes_die(world: World, request: pytest.FixtureRequest) -> None:
    """A texted code comes to two nodes at the same time, as a webhook that is sent again, and nodes are killed
    under it: it proves once, and on another call it is a wrong one."""
    for _ in range(2):
        keep_words(request, world.start())
    dice = random.Random(7)
    first = Persistent(world, MAYA, dice)
    first.arrive()
    code = until("a code is texted", lambda: texted(world))[-1]
    path, form = first.action, first.form(Digits=code, FinishedOnKey="#")
    answers: list[Reply] = []
    senders = [threading.Thread(target=lambda: answers.append(first.send(path, form)), daemon=True) for _ in range(4)]
    for sender in senders:
        sender.start()
    for n in range(2):
        victim = world.servers.pop(dice.randrange(len(world.servers)))
        victim.kill()
        keep_words(request, world.start(n + 1))
    for sender in senders:
        sender.join(timeout=60)
    assert len({answer.text for answer in answers}) == 1 and len(answers) == 4, [answer.text for answer in answers]
    assert "that was accepted" in answers[0].text
    first.completed()

    second = Persistent(world, MAYA, dice)
    second.arrive()
    until("another code is texted", lambda: len(texted(world)) == 2)
    assert "that was accepted" not in second.key(code).words
    second.completed()
    sequencer(world)
    kinds = kinds_of_events(world)
    assert (kinds["proved"], kinds["challenge_failed"]) == (1, 1), kinds
    assert len(set(texted(world))) == 2, "each is texted once"


def test_no_limit_begins_anew_while_nodes_die(world: World, request: pytest.FixtureRequest) -> None:
    """Guesses at one PIN on many calls over many nodes that are killed: those that were judged are those that the
    limit allows, and the right PIN counts no more."""
    for _ in range(2):
        keep_words(request, world.start())
    wrong: list[BaseException] = []

    def guess(seed: int) -> None:
        try:
            caller = Persistent(world, MAYA, random.Random(seed))
            asked = caller.arrive()
            for n in range(6):
                if "Please enter your PIN" in asked.words:
                    asked = caller.key(f"{7000 + seed * 10 + n}")
                elif "Gather" in asked.text:
                    asked = caller.key("*")
                else:
                    break
            caller.completed()
        except BaseException as e:  # noqa: BLE001
            wrong.append(e)

    guessers = [threading.Thread(target=guess, args=(seed,), daemon=True) for seed in range(8)]
    for guesser in guessers:
        guesser.start()
    dice = random.Random(11)
    for n in range(3):
        victim = world.servers.pop(dice.randrange(len(world.servers)))
        victim.kill()
        keep_words(request, world.start(n + 1))
    for guesser in guessers:
        guesser.join(timeout=120)
    assert not wrong, wrong
    last = Persistent(world, MAYA, dice)
    last.proves_by_pin("6402")
    sequencer(world)
    kinds = kinds_of_events(world)
    assert (kinds["challenge_failed"], kinds["proved"]) == (5, 0), kinds


def kinds_of_events(world: World) -> Counter[str]:
    """How many there are of each, over all calls."""
    return Counter(json.loads(line)["event"]["type"] for line in world.installation.run("audit", "export").stdout.splitlines() if '"call/' in line)


def texted(world: World) -> list[str]:
    return [code for text in world.twilio.texts(MAYA) for code in re.findall(r"code (\d{6})\.", text["Body"])]


class Unplugged(Caller):
    """Twilio without a fallback address, and a database that ends every connection before each request."""

    def __init__(self, url: str, number: str, database: str) -> None:
        super().__init__(url, PUBLIC, number)
        self.database = database
        self.ended = 0

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        self.ended += int(psql(self.database, end))
        reply = super().send(path, form, signature)
        assert reply.status < 500, f"{path}: {reply.status}"
        return reply


def psql(address: str, sql: str) -> str:
    return subprocess.run(["psql", "--no-psqlrc", "-qtA", "-c", sql, address], check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def test_connections_that_end_under_a_call_cost_it_nothing(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A commit whose connection ended is neither lost nor done twice, and the caller does not notice."""
    name = f"d{secrets.token_hex(8)}"
    psql(os.environ[DATABASE], f"CREATE DATABASE {name}")
    own = os.environ[DATABASE].rsplit("/", 1)[0] + f"/{name}"
    lonely = World(tmp_path / "lonely", store=f'postgres = "{own}"\nschema = "countersign"')
    try:
        keep_words(request, lonely.server)
        for _ in range(3):
            caller = Unplugged(lonely.server.url, MAYA, own)
            caller.proves_by_pin("9999", "6402")
            assert caller.ended > 5, caller.ended
        assert kinds_of_events(lonely)["challenge_failed"] == 3
        assert lonely.installation.run("audit", "verify").returncode == 0
    finally:
        lonely.close()
        psql(os.environ[DATABASE], f"DROP DATABASE {name} WITH (FORCE)")


def sequencer(world: World) -> None:
    """Any of the nodes may be the one that sequences: waits for the checkpoint that they share."""
    events = len(world.installation.run("audit", "export").stdout.splitlines())
    until("every event is in the log", lambda: int(Http(world.server.url).get("/log/checkpoint").text.splitlines()[1]) >= events, seconds=30)


def test_a_record_moves_from_a_file_to_many_nodes(world: World, tmp_path: Path) -> None:
    """A center that began with one file: its record moves while the server runs, and goes on there."""
    small = World(tmp_path / "small")
    try:
        caller = small.server.call(MAYA)
        caller.arrive()
        address = os.environ[DATABASE]
        schema = f"m{secrets.token_hex(8)}"
        move = ["migrate", "--from", f"sqlite:{small.installation.record}", "--to", address, "--schema", schema]
        ahead = small.installation.run(*move)
        assert ahead.returncode == 0 and "--finish" in ahead.stdout, ahead.stderr
        caller.key("*")
        done = small.installation.run(*move, "--finish")
        assert done.returncode == 0 and "row for row the same" in done.stdout, done.stderr
        # The old server takes nothing more, and cannot be started again.
        assert caller.send(caller.action, caller.form(Digits="1", FinishedOnKey="#")).status == 503
        small.server.stop()
        refused = small.installation.run("audit", "verify")
        assert refused.returncode == 1 and "moved to another database" in refused.stderr, refused.stderr
        config = small.installation.config
        config.write_text(config.read_text().replace(f'path = "{small.installation.record}"', f'postgres = "{address}"\nschema = "{schema}"'))
        small.start()
        small.moved_to_server(caller)
        assert "PIN" in caller.key("*").words
        assert caller.completed() in (200, 204)
    finally:
        small.close()
