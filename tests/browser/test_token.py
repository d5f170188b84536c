"""A master key on a PKCS#11 token: SoftHSM's, and OpenSC's tool as somebody else who uses it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import keep_words
from installation import World
from test_log import called

LABEL, USER_PIN, OFFICER_PIN = "countersign", "user-pin-4711", "officer-pin-0815"


class Token:
    """A token of this test alone."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "tokens").mkdir(parents=True)
        conf = folder / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
        monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
        self.module = next(path for path in Path("/usr/lib").rglob("libsofthsm2.so"))
        self.pin_file = folder / "token.pin"
        self.pin_file.write_text(USER_PIN)
        self.pin_file.chmod(0o600)
        self.run("softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", USER_PIN, "--so-pin", OFFICER_PIN)

    def run(self, *args: str) -> str:
        done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tool(self, *args: str) -> str:
        return self.run("pkcs11-tool", "--module", str(self.module), "--token-label", LABEL, "--login", "--pin", USER_PIN, *args)

    def section(self, key: str = "countersign-master", token: str = LABEL) -> str:
        return f'[keys.pkcs11]\nmodule = "{self.module}"\ntoken = "{token}"\nkey = "{key}"\npin_file = "{self.pin_file}"\n'


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    lacks = [name for name in ("softhsm2-util", "pkcs11-tool") if not shutil.which(name)]
    if lacks:
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)(f"not installed: {', '.join(lacks)}; `cargo xtask test` installs them on Debian")
    return Token(tmp_path / "token", monkeypatch)


@pytest.fixture
def world(request: pytest.FixtureRequest, token: Token, tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path / "world")
    keep_words(request, w.server)
    config = w.installation.config
    config.write_text(config.read_text().replace("[twilio]\n", f"{token.section()}\n[twilio]\n"))
    yield w
    w.close()


def test_the_master_key_moves_to_a_token_and_stays_there(world: World, token: Token, tmp_path: Path) -> None:
    run = world.installation.run
    none = run("key", "rotate-master", "--to-token")
    assert none.returncode == 1 and "new-on-token" in none.stderr, none.stderr
    made = run("key", "new-on-token")
    assert made.returncode == 0, made.stderr
    twice = run("key", "new-on-token")
    assert twice.returncode == 1 and "not made anew" in twice.stderr, twice.stderr
    # Nobody reads it, by what another program says of it.
    said = token.tool("--list-objects", "--type", "secrkey")
    assert "countersign-master" in said and "sensitive" in said and "never extractable" in said, said

    moved = run("key", "rotate-master", "--to-token")
    assert moved.returncode == 0 and "retire-masters" in moved.stdout, moved.stderr
    called(world)
    config = world.installation.config
    key = world.installation.folder / "keys" / "countersign.key"
    old = key.read_text()
    config.write_text(config.read_text().replace(f'file = "{key}"\n', ""))
    world.server.stop()
    world.start()
    assert run("key", "retire-masters").returncode == 0
    key.unlink()
    called(world)
    world.logged()
    assert run("audit", "verify").returncode == 0
    assert run("key", "status").stdout.count("master ") == 1
    # The old key opens nothing; the token's is in no file of the installation.
    config.write_text(config.read_text().replace("[keys]\n", f'[keys]\nfile = "{key}"\n'))
    key.write_text(old)
    refused = run("audit", "verify")
    assert refused.returncode == 1 and "does not open this record" in refused.stderr, refused.stderr
    for secret in (USER_PIN, old.strip()):
        assert secret not in world.said() + refused.stderr + made.stdout + moved.stdout


def test_a_token_that_gives_no_key_says_why(world: World, token: Token) -> None:
    run, config = world.installation.run, world.installation.config
    key = world.installation.folder / "keys" / "countersign.key"
    plain = config.read_text().replace(f'file = "{key}"\n', "")

    def refused(text: str) -> str:
        config.write_text(text)
        said = run("audit", "verify")
        assert said.returncode == 1 and "panicked" not in said.stderr, said.stderr
        assert USER_PIN not in said.stderr
        return said.stderr

    assert "has no key called countersign-master" in refused(plain)
    assert f"no token is called other; there are: {LABEL}" in refused(plain.replace(f'token = "{LABEL}"', 'token = "other"'))
    assert "PKCS#11 library" in refused(plain.replace(str(token.module), "/usr/lib/nothing.so"))
    assert "PKCS#11 library" in refused(plain.replace(str(token.module), str(config)))
    token.pin_file.write_text("wrong-pin")
    assert "does not take this PIN" in refused(plain)
    assert "wrong-pin" not in refused(plain)
    token.pin_file.unlink()
    assert "cannot read" in refused(plain)
    token.pin_file.write_text(USER_PIN)
    # A key that can be read out is none: whoever has the PIN for an hour would have it for ever.
    token.tool("--keygen", "--key-type", "GENERIC:32", "--label", "countersign-master", "--extractable")
    assert "can be read out" in refused(plain)
    token.tool("--keygen", "--key-type", "GENERIC:32", "--label", "countersign-master")
    assert "there are 2 of the name" in refused(plain)
