"""Keys that change and customers who are erased, while `countersign serve` runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import keep_words
from helpers import command, none_of, until
from installation import PERSONAL, World, refused
from test_log import called

MAYA_NUMBER, TOMASZ_NUMBER = "20008811", "20008812"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path / "world")
    keep_words(request, w.server)
    yield w
    w.close()


def test_the_master_key_changes_and_nothing_is_lost(world: World, tmp_path: Path) -> None:
    old, new = world.installation.folder / "keys" / "countersign.key", tmp_path / "new.key"
    assert command("key", "new", new).returncode == 0
    said = world.installation.run("key", "rotate-master", "--to", new)
    assert said.returncode == 0 and "retire-masters" in said.stdout, said.stderr
    called(world)
    config = world.installation.config
    config.write_text(config.read_text().replace(str(old), str(new)))
    world.server.stop()
    world.start()
    assert world.installation.run("key", "retire-masters").returncode == 0
    called(world)
    shown = world.installation.run("key", "status").stdout
    assert shown.count("master ") == 1 and "seals" in shown, shown
    # The old key is refused at once, with what to do; neither key is in any message.
    config.write_text(config.read_text().replace(str(new), str(old)))
    refused = world.installation.run("audit", "verify")
    assert refused.returncode == 1 and "does not open this record" in refused.stderr, refused.stderr
    for key in (old, new):
        assert key.read_text().strip() not in refused.stderr + shown + world.said()
    again = world.installation.run("key", "drop-old")
    assert again.returncode == 1


def test_a_customer_is_told_everything_and_then_erased(world: World, tmp_path: Path) -> None:
    called(world)
    told = world.installation.run("privacy", "export", MAYA_NUMBER)
    assert told.returncode == 0, told.stderr
    everything = json.loads(told.stdout)
    assert everything["profile"]["name"] == "Maya Lindqvist" and len(everything["calls"]) == 1
    assert "6402" not in told.stdout, "her PIN"
    assert world.installation.run("privacy", "hold", MAYA_NUMBER, "--reason", "case 17").returncode == 0
    held = world.installation.run("privacy", "erase", MAYA_NUMBER, "--confirm", MAYA_NUMBER)
    assert held.returncode == 1 and "case 17" in held.stderr, held.stderr
    assert world.installation.run("privacy", "release", MAYA_NUMBER).returncode == 0
    slip = world.installation.run("privacy", "erase", MAYA_NUMBER, "--confirm", TOMASZ_NUMBER)
    assert slip.returncode == 1 and "nothing was destroyed" in slip.stderr
    backup = tmp_path / "backup.db"
    assert world.installation.run("backup", backup).returncode == 0
    done = world.installation.run("privacy", "erase", MAYA_NUMBER, "--confirm", MAYA_NUMBER)
    assert done.returncode == 0, done.stderr
    gone = world.installation.run("privacy", "export", MAYA_NUMBER)
    assert gone.returncode == 1 and "no account has this number" in gone.stderr
    world.logged()
    verified = world.installation.run("audit", "verify")
    assert verified.returncode == 0 and "somebody who was erased" in verified.stdout, verified.stdout
    # The running server, which had her in memory, knows her no more.
    assert "We know the number" not in world.server.call("+12025550171").arrive().words
    none_of(PERSONAL, world.stored().decode("latin-1"), "what is stored")
    # The backup of before comes back, and she does not come with it.
    world.server.stop()
    record = world.installation.record
    for old in record.parent.glob("record.db*"):
        old.unlink()
    backup.rename(record)
    # Only as a log of another name: the key store of today has seen more of this one.
    assert "the key store has seen this log with" in refused(world)
    config = world.installation.config
    config.write_text(config.read_text() + '\n[log]\norigin = "calls.example.com/log-2"\n')
    world.start()
    assert "We know the number" not in world.server.call("+12025550171").arrive().words
    gone = world.installation.run("privacy", "export", MAYA_NUMBER)
    assert gone.returncode == 1 and "no account has this number" in gone.stderr
    others = world.installation.run("privacy", "export", TOMASZ_NUMBER)
    assert others.returncode == 0 and json.loads(others.stdout)["profile"]["account_number"] == TOMASZ_NUMBER, others.stderr
    until("she is erased again", lambda: "had come back, and are erased again" in world.said(), seconds=20)
