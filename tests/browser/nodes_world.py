"""Several `countersign serve` over one PostgreSQL schema: what their tests share."""

from __future__ import annotations

import http.client
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
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conftest import keep_words
from helpers import Http, Reply, until
from installation import PUBLIC, Server, World
from twilio_world import Caller

DATABASE = "COUNTERSIGN_TEST_POSTGRES"
MAYA = "+12025550171"


def database() -> str:
    """The address of the server that tests may use."""
    address = os.environ.get(DATABASE)
    if not address:
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)(f"{DATABASE} names no server: `cargo xtask test` starts one")
    return address or ""


def schema(address: str) -> str:
    """A schema that nobody else has, as it is configured."""
    return f'postgres = "{address}"\nschema = "n{secrets.token_hex(8)}"'


@contextmanager
def nodes(request: pytest.FixtureRequest, folder: Path, count: int = 1, address: str | None = None, more: str = "") -> Iterator[World]:
    """So many nodes over one schema, and what they said if a test fails."""
    world = World(folder, more, store=schema(address or database()))
    try:
        keep_words(request, world.server)
        for _ in range(1, count):
            keep_words(request, world.start())
        yield world
    finally:
        world.close()


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with nodes(request, tmp_path / "world") as w:
        yield w


class Persistent(Caller):
    """Twilio with a fallback address: what one node does not answer is sent to the next."""

    def __init__(self, world: World, number: str, dice: random.Random) -> None:
        super().__init__(world.server.url, PUBLIC, number)
        self.world, self.dice = world, dice

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            # Those that there are now: others kill them meanwhile.
            servers = list(self.world.servers)
            if servers:
                self.address = self.dice.choice(servers).url
            try:
                reply = super().send(path, form, signature)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
                continue
            if reply.status not in (500, 503):
                return reply
            time.sleep(0.02)
        raise AssertionError(f"no node takes {path} for 90 s")


def one_dies(request: pytest.FixtureRequest, world: World, dice: random.Random, run: int) -> Server:
    """As by a power cut, and another comes."""
    victim = world.servers.pop(dice.randrange(len(world.servers)))
    victim.kill()
    keep_words(request, world.start(run))
    return victim


class Cutting:
    """A way to the database that ends connections: before what was said has come there, or before the answer is back."""

    def __init__(self) -> None:
        address = urlsplit(database())
        self.to, self.cut, self.cuts = (address.hostname or "127.0.0.1", address.port or 5432), "", Counter[str]()
        self.lock = threading.Lock()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.address = address._replace(netloc=address.netloc.rsplit("@", 1)[0] + f"@127.0.0.1:{self.door.getsockname()[1]}").geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.door.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.to)
            except OSError:
                near.close()
                continue
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

    @contextmanager
    def at_random(self, dice: random.Random, most: int = 60) -> Iterator[None]:
        """Again and again, until the block is left, or each has happened so often: whoever is slow gets done as well."""
        over = threading.Event()

        def cuts() -> None:
            while not over.wait(dice.uniform(0.01, 0.08)) and min(self.cuts["before"], self.cuts["after"]) < most:
                self.cut = dice.choice(["before", "after"])

        cutter = threading.Thread(target=cuts, daemon=True)
        cutter.start()
        try:
            yield
        finally:
            over.set()
            cutter.join()
            self.cut = ""


@pytest.fixture
def way() -> Iterator[Cutting]:
    w = Cutting()
    yield w
    w.door.close()


def psql(address: str, sql: str) -> str:
    return subprocess.run(["psql", "--no-psqlrc", "-qtA", "-c", sql, address], check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def export(world: World) -> list[dict]:
    """Every event on record, in the order of the log."""
    return [json.loads(line) for line in world.installation.run("audit", "export").stdout.splitlines()]


def events_of_calls(world: World) -> dict[str, list[dict]]:
    """The events of each call on record, which has no gap and nothing twice."""
    calls: dict[str, list[dict]] = {}
    lines = export(world)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    for line in lines:
        if line["stream"].startswith("call/"):
            calls.setdefault(line["stream"], []).append(line["event"])
    for events in calls.values():
        assert [e["n"] for e in events] == list(range(1, len(events) + 1)), "no gap, nothing twice"
    return calls


def kinds_of_events(world: World) -> Counter[str]:
    """How many there are of each, over all calls."""
    return Counter(event["type"] for events in events_of_calls(world).values() for event in events)


def sequencer(world: World) -> None:
    """Any of the nodes may be the one that sequences: waits for the checkpoint that they share."""
    events = len(export(world))
    until("every event is in the log", lambda: int(Http(world.server.url).get("/log/checkpoint").text.splitlines()[1]) >= events, seconds=60)


def verifies(world: World) -> None:
    """The log of everything that is on record now."""
    sequencer(world)
    said = world.installation.run("audit", "verify")
    assert said.returncode == 0 and "Verified" in said.stdout, said.stdout + said.stderr


def texted(world: World, to: str = MAYA) -> list[str]:
    """The codes that were texted there, in their order."""
    return [code for text in world.twilio.texts(to) for code in re.findall(r"code (\d{6})\.", text["Body"])]


def texted_once(world: World, some: bool = True) -> None:
    """Each code was asked for by one challenge on record, and went once. Not `some`: whoever asks for a PIN at once
    may be faster than the text, which does not go then."""
    sent = Counter(
        re.findall(r"message=(msg_[0-9a-f]{32})", form["StatusCallback"])[0]
        for path in ("Messages.json", "Calls.json") for form in world.twilio.asked(path) if re.search(r"\d{6}|\d(, \d){5}", form.get("Body", "") + form.get("Twiml", ""))
    )
    asked = {e["challenge"]["message"] for events in events_of_calls(world).values() for e in events if e["type"] == "challenged"}
    assert sent or not some, "no code was sent, or it is said in other words now"
    assert max(sent.values(), default=0) <= 1 and set(sent) <= asked, sent
