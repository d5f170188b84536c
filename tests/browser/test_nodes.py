"""Several `countersign serve` over one PostgreSQL schema, killed at random while calls go on."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import keep_words
from helpers import Http, Reply, Stream, none_of, until
from installation import CUSTOMERS, PASSWORD, PERSONAL, PUBLIC, Server, World
from nodes_world import (  # noqa: F401
    DATABASE, MAYA, Cutting, Persistent, database, events_of_calls, kinds_of_events, nodes, one_dies, psql, sequencer, texted, texted_once, verifies,
    way, world,
)
from twilio_world import Caller


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
            killed.append(one_dies(request, world, dice, len(killed)))
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
    verifies(world)
    calls = events_of_calls(world)
    assert len(calls) == len(finished)
    for events in calls.values():
        kinds = Counter(e["type"] for e in events)
        assert kinds["started"] == 1 and kinds["ended"] == 1 and kinds["proved"] <= 1 and kinds["challenge_failed"] <= 1, kinds
    texted_once(world, some=False)


def test_a_network_that_loses_what_is_said(request: pytest.FixtureRequest, tmp_path: Path, way: Cutting) -> None:
    """Between a whole server and its database, in the middle of calls: what was lost before it came is not there, what
    was lost after it is there once, and no caller is the worse for it."""
    dice, finished = random.Random(3), []
    with nodes(request, tmp_path / "world", address=way.address) as world:
        with way.at_random(dice):
            while len(finished) < 8 or min(way.cuts["before"], way.cuts["after"]) < 10:
                caller = Persistent(world, MAYA, dice)
                caller.proves_by_pin("9999", "6402")
                finished.append(caller.sid)
        all_is_on_record(world, finished)


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
        one_dies(request, world, dice, n)
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
        one_dies(request, world, dice, n)
    for guesser in guessers:
        guesser.join(timeout=120)
    assert not wrong, wrong
    last = Persistent(world, MAYA, dice)
    last.proves_by_pin("6402")
    sequencer(world)
    kinds = kinds_of_events(world)
    assert (kinds["challenge_failed"], kinds["proved"]) == (5, 0), kinds


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


def test_what_happens_on_one_node_is_shown_on_all(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Two desks and a customer's portal on two nodes: what comes in at one, or is clicked at one, is told to the pages
    that are open at the other within a moment; and between the nodes go names of things, and nothing about anybody."""
    program = f'\n[[api]]\nname = "site"\nkey_sha256 = "{hashlib.sha256(API_KEY.encode()).hexdigest()}"\n'
    with nodes(request, tmp_path / "world", 2, more=program) as world:
        here, there = world.servers
        sam_code = world.installation.add_agent("sam", "agent", PASSWORD)
        # Everything is looked at here, and everything happens there.
        robin, maya = world.sign_in(here), portal(here)
        sam = world.sign_in(there, "sam", sam_code)
        desk, me = Stream(robin, "/desk/events"), Stream(maya, "/me/events")
        with overheard(world) as notes:
            until("the page is told where it stands", lambda: me.data())
            assert "on the phone with us" not in maya.get("/me/live").text
            caller = Caller(there.url, PUBLIC, MAYA)

            told(desk, me, "a call comes in", caller.arrive)
            until("the customer sees it", lambda: "Somebody is on the phone with us as you" in maya.get("/me/live").text, seconds=SOON)
            for keys in ("*", "*", "6402"):
                now = caller.key(keys)
            assert "that was accepted" in now.words
            waits = told(desk, me, "it waits", lambda: caller.key("2"))
            call = until("it is on the list", lambda: CALL.findall(robin.get("/desk/list").text), seconds=SOON)[0]
            assert call in waits and "data-take" in robin.get("/desk/list").text

            told(desk, me, "Sam takes it", lambda: sam.act(call, "accept"))
            until("it is Sam's", lambda: '<span class="row-where">sam</span>' in robin.get("/desk/list").text, seconds=SOON)
            assert "data-take" not in robin.get("/desk/list").text

            told(desk, me, "Sam asks for a code", lambda: sam.act(call, "prove", factors="sms_code"))
            told(desk, me, "the caller hangs up", caller.completed)
            until("it is off the list", lambda: call not in robin.get("/desk/list").text, seconds=SOON)
            until("nobody is on the phone", lambda: "on the phone with us" not in maya.get("/me/live").text, seconds=SOON)
        assert len(notes) >= 4, notes
        for note in notes:
            # Which node says it, and then kinds and ids of ours.
            assert re.fullmatch(r"[0-9a-f]{16};(call|over|account):[0-9a-f]{32}(,(call|over|account):[0-9a-f]{32})*", note), note
        assert any(f"call:{call.removeprefix('call_')}" in note for note in notes)
        assert any(f"over:{call.removeprefix('call_')}" in note for note in notes)
        none_of([*PERSONAL, "Maya", "Sam", "sam", "Robin", "robin"], "\n".join(notes), "what nodes tell each other")


API_KEY = "a-long-and-random-key-for-tests-7f31"
CALL = re.compile(r'data-call="(call_[0-9a-f]{32})"')
# Seconds in which a page has to be told what happens elsewhere: mostly it takes a tenth of one, and without being
# told it would take for ever.
SOON = 10


def portal(server: Server) -> Http:
    """Maya in the portal, come from the company's own site."""
    body = json.dumps({"account_number": CUSTOMERS[0]["account_number"]}).encode()
    made = Http(server.url).request("POST", "/api/v1/portal-sessions", body, {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"})
    assert made.status == 201, made
    me = Http(server.url)
    assert me.get(json.loads(made.text)["url"].removeprefix(PUBLIC)).status == 200
    return me


def told(desk: Stream, me: Stream, what: str, happens: Callable[[], object]) -> list[str]:
    """Both pages are told soon, without asking: which calls the desk is told of."""
    at_desk, at_portal = len(desk.data()), len(me.data())
    happens()
    before = time.monotonic()
    until(f"{what}: the portal is told", lambda: len(me.data()) > at_portal, seconds=SOON)
    calls = until(f"{what}: the desk is told", lambda: [data for data in desk.data()[at_desk:] if data.startswith("call_")], seconds=SOON)
    print(f"{what}: told after {1000 * (time.monotonic() - before):.0f} ms")
    return calls


@contextmanager
def overheard(world: World) -> Iterator[list[str]]:
    """What nodes tell each other meanwhile, as anybody hears it who may read their database."""
    schema = re.search(r'(?m)^schema = "(\w+)"$', world.installation.config.read_text())
    assert schema
    notes: list[str] = []
    ear = subprocess.Popen(["psql", "--no-psqlrc", "-qtA", database()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert ear.stdin and ear.stdout
    ear.stdin.write(f"LISTEN countersign_{schema[1]};\nSELECT 'listening';\n")
    ear.stdin.flush()
    assert ear.stdout.readline().strip() == "listening"
    yield notes
    # It prints what it has heard after the next statement.
    said, _ = ear.communicate("SELECT 1;\n", timeout=30)
    notes += re.findall(r'Asynchronous notification "\w+" with payload "([^"]*)"', said)


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
