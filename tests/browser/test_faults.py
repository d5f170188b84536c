"""What a disk does to a server: it is full for a while, or has damaged the record."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Service, as_its_user, descendants, own, programs
from conftest import keep_words
from helpers import Http, free_port, until
from installation import CUSTOMERS, World, put_back, refused
from test_log import called

MAYA = "+12025550171"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path / "world")
    keep_words(request, w.server)
    yield w
    w.close()


def test_a_damaged_record_is_not_served(world: World) -> None:
    rows = [CUSTOMERS[0] | {"account_number": f"3{n:07}", "mobile": f"+1202555{n:04}", "email": f"c{n}@example.com", "pin": ""} for n in range(300, 700)]
    done = world.installation.run("import", world.installation.customers(rows, "more.csv"))
    assert done.returncode == 0, done.stderr
    called(world)
    world.server.stop()
    record = world.installation.record
    with sqlite3.connect(record) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = record.read_bytes()
    size, pages = 4096, len(whole) // 4096
    assert pages > 100
    # A page in the middle, as a dying disk returns it.
    middle = pages // 2 * size
    record.write_bytes(whole[:middle] + b"\xa5" * size + whole[middle + size :])
    assert "latest backup" in refused(world)
    # Cut off.
    record.write_bytes(whole[: len(whole) // 2 // size * size])
    assert re.search("latest backup|malformed|damaged", refused(world))
    # Not a database at all.
    record.write_bytes(b"<!doctype html>" * 500)
    assert "not a SQLite database" in refused(world)
    record.write_bytes(whole)
    world.start()
    called(world)


def test_an_older_backup_is_not_served(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Limits and spent codes would be those of then. The key store remembers how far the log was, and a file elsewhere."""
    memory, backup, latest = (tmp_path / name for name in ["log.size", "backup.db", "latest.db"])
    world = World(tmp_path / "world", f'[log]\norigin = "calls.example.com/log"\nmemory = "{memory}"\n')
    keep_words(request, world.server)
    try:
        called(world)
        world.logged()
        assert world.installation.run("backup", backup).returncode == 0
        called(world)
        seen = world.logged()
        until("it is remembered", lambda: memory.exists() and int(memory.read_text()) >= seen)
        world.server.stop()
        assert world.installation.run("backup", latest).returncode == 0
        put_back(world, backup)
        said = refused(world)
        assert f"{memory} has seen this log with" in said and "older backup" in said and "Nothing is served from it" in said, said
        # Nothing has to be set up for it: the key store is of today.
        memory.unlink()
        said = refused(world)
        assert "the key store has seen this log with" in said and "[log] origin" in said and "Nothing is served from it" in said, said
        # The latest is served, and so is the older one as a log of another name.
        put_back(world, latest)
        keep_words(request, world.start())
        called(world)
        world.server.stop()
        put_back(world, backup)
        memory.unlink(missing_ok=True)
        world.installation.config.write_text(world.installation.config.read_text().replace("calls.example.com/log", "calls.example.com/log-2"))
        keep_words(request, world.start())
        called(world)
        world.logged()
        assert Http(world.server.url).get("/log/checkpoint").text.startswith("calls.example.com/log-2\n")
    finally:
        world.close()


def until_full(world: World, most: int) -> int:
    """Calls come until some are turned away; how many were taken."""
    taken, turned_away = 0, 0
    for n in range(most):
        one = world.server.call(f"+1202555{7000 + n}")
        status = one.send("/twilio/voice", one.form()).status
        assert status in (200, 500, 503), status
        taken, turned_away = taken + (status == 200), turned_away + (status != 200)
        if turned_away > 5:
            break
    assert turned_away > 5, f"{taken} calls fitted"
    assert world.server.process.poll() is None, world.server.said()
    return taken


def holds(world: World, taken: int) -> None:
    """Every call that was acknowledged is on record, and the log verifies."""
    events = [json.loads(line) for line in world.installation.run("audit", "export").stdout.splitlines()]
    started = sum(1 for line in events if line["event"]["type"] == "started")
    assert started >= taken, (started, taken)
    assert [line["seq"] for line in events] == list(range(1, len(events) + 1))
    world.logged()
    said = world.installation.run("audit", "verify")
    assert said.returncode == 0 and "Verified" in said.stdout, said.stdout + said.stderr


def test_a_full_disk_loses_nothing(world: World, request: pytest.FixtureRequest) -> None:
    """No byte more fits for a while: nothing is acknowledged that is not on disk, and afterwards all goes on."""
    caller = world.server.call(MAYA)
    caller.arrive()
    server = world.server.process.pid
    largest = max(f.stat().st_size for f in world.installation.record.parent.iterdir())
    # As a quota would: writes beyond this fail.
    resource.prlimit(server, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    taken = until_full(world, 400)
    until("it is not ready", lambda: Http(world.server.url).get("/readyz").status == 503)
    resource.prlimit(server, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until("it is ready again", lambda: Http(world.server.url).get("/readyz").status == 200, seconds=60)
    # The call from before goes on, and every call that was acknowledged is there.
    assert caller.key("*").words
    holds(world, taken + 1)
    assert world.server.process.poll() is None



class Database(Service):
    """One PostgreSQL, small enough to fill its disk."""

    def __init__(self, folder: Path) -> None:
        self.port, self.data = free_port(), folder / "data"
        bin = programs()
        if bin is None:
            assert "CI" not in os.environ, "PostgreSQL is not here"
            pytest.skip("PostgreSQL is not here")
        settings = ["fsync=off", "log_min_messages=warning", f"unix_socket_directories={folder}", "listen_addresses=127.0.0.1", f"port={self.port}"]
        super().__init__(folder, "postgresql", bin / "postgres", "-D", self.data, *[word for setting in settings for word in ("-c", setting)])
        own(folder)
        # Segments of one megabyte: then a file of the database reaches the limit before the journal does.
        made = Service(folder, "initdb", bin / "initdb", "-D", self.data, "-A", "trust", "-U", "countersign", "-N", "--wal-segsize=1")
        made.start()
        assert made.process and made.process.wait(timeout=60) == 0, made.said()

    def up(self) -> None:
        """Started, and answering."""
        self.start()
        ask = [str((programs() or Path()) / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until("the database answers", lambda: subprocess.run(ask, check=False).returncode == 0)

    def may_write_up_to(self, size: int | None) -> None:
        """No file may be longer, for those that run and whatever they start."""
        assert self.process
        server = self.process.pid
        for pid in [server, *descendants(server)]:
            limit = ["prlimit", "--pid", str(pid), f"--fsize={'unlimited' if size is None else size}:unlimited"]
            # Some of its children end by themselves in between.
            done = subprocess.run([*as_its_user(), *limit], check=False, capture_output=True, text=True)  # noqa: S603
            assert done.returncode == 0 or pid != server and "No such process" in done.stderr, done.stderr

    @property
    def address(self) -> str:
        return f"postgres://countersign@127.0.0.1:{self.port}/postgres"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "database")
    database.up()
    yield database
    database.kill(signal.SIGQUIT)


@pytest.mark.parametrize("full", ["data", "journal"])
def test_a_full_disk_of_the_database_loses_nothing(request: pytest.FixtureRequest, tmp_path: Path, small: Database, full: str) -> None:
    """Its tables cannot grow, and it refuses; or its journal cannot, and it ends. Either way nobody is told of
    what is not on disk, and once there is room all goes on."""
    world = World(tmp_path / "world", store=f'postgres = "{small.address}"')
    keep_words(request, world.server)
    try:
        caller = world.server.call(MAYA)
        caller.arrive()
        rows = [CUSTOMERS[0] | {"account_number": f"3{n:07}", "mobile": f"+1202555{n:04}", "email": f"c{n}@example.com", "pin": ""} for n in range(300, 2300)]
        more = world.installation.customers(rows, "more.csv")
        small.may_write_up_to(1 << 20 if full == "data" else 64 << 10)
        refused = world.installation.run("import", more)
        assert refused.returncode == 1 and "panicked" not in refused.stderr and "Lindqvist" not in refused.stderr, refused.stderr
        taken = until_full(world, 1500)
        assert small.process
        if full == "journal":
            until("it is not ready", lambda: Http(world.server.url).get("/readyz").status == 503)
            until("the database has ended", lambda: small.process.poll() is not None)
            (small.data / "postmaster.pid").unlink(missing_ok=True)
            small.up()
        else:
            assert small.process.poll() is None, small.said()
            small.may_write_up_to(None)
        until("it is ready again", lambda: Http(world.server.url).get("/readyz").status == 200, seconds=60)
        assert caller.key("*").words
        again = world.installation.run("import", more)
        assert again.returncode == 0, again.stderr
        holds(world, taken + 1)
    finally:
        world.close()
