"""What a disk does to a server: it is full for a while, or has damaged the record."""

from __future__ import annotations

import json
import re
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import keep_words
from helpers import Http, until
from installation import CUSTOMERS, Server, World
from test_log import called

MAYA = "+12025550171"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path / "world")
    keep_words(request, w.server)
    yield w
    w.close()


def refused(world: World) -> str:
    with pytest.raises(AssertionError) as failed:
        Server(world.installation, 90)
    said = str(failed.value)
    assert "ended with 1" in said and "panicked" not in said, said
    return said


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


def test_a_full_disk_loses_nothing(world: World, request: pytest.FixtureRequest) -> None:
    """No byte more fits for a while: nothing is acknowledged that is not on disk, and afterwards all goes on."""
    caller = world.server.call(MAYA)
    caller.arrive()
    server = world.server.process.pid
    largest = max(f.stat().st_size for f in world.installation.record.parent.iterdir())
    # As a quota would: writes beyond this fail.
    resource.prlimit(server, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    taken, turned_away = 0, 0
    for n in range(400):
        one = world.server.call(f"+1202555{7000 + n}")
        status = one.send("/twilio/voice", one.form()).status
        assert status in (200, 500, 503), status
        taken, turned_away = taken + (status == 200), turned_away + (status != 200)
        if turned_away > 5:
            break
    assert turned_away > 5, f"{taken} calls fitted"
    assert world.server.process.poll() is None, world.server.said()
    until("it is not ready", lambda: Http(world.server.url).get("/readyz").status == 503)
    resource.prlimit(server, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until("it is ready again", lambda: Http(world.server.url).get("/readyz").status == 200, seconds=60)
    # The call from before goes on, and every call that was acknowledged is there.
    assert caller.key("*").words
    events = [json.loads(line) for line in world.installation.run("audit", "export").stdout.splitlines()]
    started = sum(1 for line in events if line["event"]["type"] == "started")
    assert started >= taken + 1, (started, taken)
    assert [line["seq"] for line in events] == list(range(1, len(events) + 1))
    world.logged()
    said = world.installation.run("audit", "verify")
    assert said.returncode == 0 and "Verified" in said.stdout, said.stdout + said.stderr
    assert world.server.process.poll() is None

