"""The Merkle log from outside: what the program exports is verified by Python, by the RFC, with another
library's Ed25519; and the program notices what was altered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from conftest import keep_words
from helpers import Http, Program, command, none_of, until
from installation import CUSTOMERS, PERSONAL, PUBLIC, World, put_back, refused

MAYA = "+12025550171"
# The company's own site, from which its customers come into the portal.
SITE_KEY = "the key of the company's own site"
SITE = f'\n[[api]]\nname = "site"\nkey_sha256 = "{hashlib.sha256(SITE_KEY.encode()).hexdigest()}"\n'


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path / "world")
    keep_words(request, w.server)
    yield w
    w.close()


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\0" + leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha(b"\1" + root(leaves[:k]) + root(leaves[k:]))


def included(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """The root that a path leads to (RFC 9162 §2.1.3.2)."""
    fn, sn, r = index, size - 1, sha(b"\0" + leaf)
    for p in path:
        assert sn != 0
        if fn & 1 or fn == sn:
            r = sha(b"\1" + p + r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha(b"\1" + r + p)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return r


def checkpoint(note: str, vkey: str) -> tuple[str, int, bytes]:
    """A signed checkpoint (C2SP signed-note and tlog-checkpoint), checked with another library."""
    name, key_hash, key = vkey.split("+", 2)
    public = base64.b64decode(key)
    assert public[0] == 1 and sha(name.encode() + b"\n" + public)[:4].hex() == key_hash
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ")
        raw = base64.b64decode(signature)
        if dash == "—" and signer == name and raw[:4].hex() == key_hash:
            Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], text.encode())
            origin, size, top = text.splitlines()[:3]
            return origin, int(size), base64.b64decode(top)
    raise InvalidSignature


def leaf(event: dict) -> bytes:
    """The entry that an exported event makes."""
    parts = [
        bytes.fromhex(event["salt"]), struct.pack(">Q", event["seq"]), event["kind"].encode(), bytes.fromhex(event["stream"]),
        struct.pack(">Q", event["n"]), struct.pack(">q", event["at"]), event["body"].encode(),
    ]
    return b"\1" + sha(b"".join(struct.pack(">Q", len(part)) + part for part in parts))


def entries(bundle: bytes) -> list[bytes]:
    out = []
    while bundle:
        (length,) = struct.unpack(">H", bundle[:2])
        out.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return out


def called(world: World) -> str:
    caller = world.server.call(MAYA)
    asked = caller.arrive()
    while "Please enter your PIN" not in asked.words:
        asked = caller.key("*")
    caller.key("6402")
    caller.completed()
    shown = world.installation.run("audit", "export").stdout
    return "call_" + re.findall(r'"stream":"call/([0-9a-f]{32})"', shown)[-1]


def test_another_program_verifies_the_log(world: World, tmp_path: Path) -> None:
    call = called(world)
    world.logged()
    http = Http(world.server.url)
    key = http.get("/log/keys").text.strip()
    origin, size, top = checkpoint(http.get("/log/checkpoint").text, key)
    assert origin == "calls.example.com/log"
    bundle = entries(http.request("GET", f"/log/tile/entries/000.p/{size}").body)
    assert len(bundle) == size and root(bundle) == top
    # What is public says nothing.
    none_of(PERSONAL, repr(bundle) + http.get("/log/checkpoint").text, "the log")

    assert "Verified" in world.installation.run("audit", "verify").stdout
    exported = tmp_path / "log"
    said = world.installation.run("audit", "export-log", exported)
    assert said.returncode == 0, said.stderr
    events = [json.loads(line) for line in (exported / "events.jsonl").read_text().splitlines()]
    note = (exported / "checkpoint").read_text()
    _, size, top = checkpoint(note, key)
    assert len(events) == size and root([leaf(event) for event in events]) == top
    assert hmac.compare_digest(b"".join(sha(b"\0" + leaf(e)) for e in events), (exported / f"tile/0/000.p/{size}").read_bytes())

    verified = command("audit", "verify", "--dir", exported, "--key", key)
    assert verified.returncode == 0 and "Verified" in verified.stdout, verified.stdout + verified.stderr
    lines = (exported / "events.jsonl").read_text()
    (exported / "events.jsonl").write_text(lines.replace('\\"proved\\"', '\\"Proved\\"', 1))
    altered = command("audit", "verify", "--dir", exported, "--key", key)
    place = next(e["seq"] for e in events if '"proved"' in e["body"])
    assert altered.returncode == 1 and f"event {place} (" in altered.stdout, altered.stdout
    nobody = command("audit", "verify", "--dir", exported)
    assert nobody.returncode == 1 and "--key" in nobody.stderr

    # A receipt, by the same means, and by the program without anything else.
    receipt = world.installation.run("audit", "receipt", call).stdout
    parsed = json.loads(receipt)
    for event in parsed["events"]:
        head, note = event["proof"].split("\n\n", 1)
        header, index, *path = head.splitlines()
        assert header == "c2sp.org/tlog-proof@v1"
        number = int(index.removeprefix("index "))
        _, size, top = checkpoint(note, key)
        assert included(number, size, leaf(event["event"]), [base64.b64decode(p) for p in path]) == top
    file = tmp_path / "receipt.json"
    file.write_text(receipt)
    checked = command("audit", "check-receipt", file, "--key", key)
    assert checked.returncode == 0 and "Proved: PIN." in checked.stdout and "Verified" in checked.stdout, checked.stdout
    file.write_text(receipt.replace('\\"kind\\":\\"pin\\"', '\\"kind\\":\\"passkey\\"'))
    checked = command("audit", "check-receipt", file, "--key", key)
    assert checked.returncode == 1 and "NOT verified" in checked.stdout, checked.stdout


def signed_in(world: World, account_number: str) -> Http:
    """A customer in the portal, come from the company's own site."""
    asked = {"Content-Type": "application/json", "Authorization": f"Bearer {SITE_KEY}"}
    made = Http(world.server.url).request("POST", "/api/v1/portal-sessions", json.dumps({"account_number": account_number}).encode(), asked)
    assert made.status == 201, made
    me = Http(world.server.url)
    assert me.get(json.loads(made.text)["url"].removeprefix(PUBLIC)).status == 200
    return me


def test_a_customer_fetches_a_receipt_and_checks_it_without_us(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    world = World(tmp_path / "world", SITE)
    keep_words(request, world.server)
    try:
        maya, tomasz = (signed_in(world, customer["account_number"]) for customer in CUSTOMERS)
        call = called(world)
        receipt = f"/me/calls/{call}/receipt"
        early = maya.get(receipt)
        assert early.status == 200 or (early.status, early.headers["retry-after"]) == (503, "60"), early
        world.logged()
        assert receipt in maya.get("/me").text
        fetched = maya.get(receipt)
        assert fetched.status == 200, fetched
        assert fetched.headers["content-disposition"] == f'attachment; filename="receipt-{call}.json"'
        # What the operator would give her, byte for byte but for the head that it is proved to.
        given = json.loads(world.installation.run("audit", "receipt", call, "--for-customer").stdout)
        assert [e["event"] for e in json.loads(fetched.text)["events"]] == [e["event"] for e in given["events"]]
        none_of([*PERSONAL, "proved", "duress"], fetched.text, "the receipt")

        # The server is gone; the key was written down when it was trusted.
        key = Http(world.server.url).get("/log/keys").text.strip()
        nothing = f"/me/calls/call_{'0' * 32}/receipt"
        theirs, there = tomasz.get(receipt), tomasz.get(nothing)
        assert (theirs.status, theirs.text) == (404, there.text) and there.status == 404
        assert Http(world.server.url).get(receipt).location == "/me/sign-in"
        world.server.stop()
        file = tmp_path / "receipt.json"
        file.write_text(fetched.text)
        checked = command("audit", "check-receipt", file, "--key", key)
        assert checked.returncode == 0 and "Asked for PIN" in checked.stdout and "Verified" in checked.stdout, checked.stdout + checked.stderr
        assert "Proved" not in checked.stdout
        file.write_text(fetched.text.replace('\\"kind\\":\\"pin\\"', '\\"kind\\":\\"passkey\\"'))
        checked = command("audit", "check-receipt", file, "--key", key)
        assert checked.returncode == 1 and "NOT verified" in checked.stdout, checked.stdout
    finally:
        world.close()


def test_a_witness_of_its_own_signs_the_log(world: World, tmp_path: Path) -> None:
    called(world)
    world.logged()
    log_key = Http(world.server.url).get("/log/keys").text.strip()
    secret = tmp_path / "witness.key"
    assert command("key", "new", secret).returncode == 0
    witness = Program(
        tmp_path / "witness", "witness", "--listen", "127.0.0.1:0", "--name", "witness.example.org", "--key-file", secret,
        "--state", tmp_path / "seen.json", "--log", log_key,
    )
    try:
        url = witness.wait_for(r"(http://127\.0\.0\.1:\d+)/add-checkpoint", witness.out)[1]
        key = witness.wait_for(r"(?m)^(witness\.example\.org\+\S+)$", witness.out)[1]
        world.server.stop()
        config = world.installation.config
        config.write_text(config.read_text() + f'\n[[log.witnesses]]\nurl = "{url}"\nkey = "{key}"\n')
        assert "log.witnesses" not in world.installation.run("doctor").stdout
        world.start()
        keys, backup = tmp_path / "keys.db", tmp_path / "backup.db"
        assert world.installation.run("backup", keys, "--keys").returncode == 0
        assert world.installation.run("backup", backup).returncode == 0
        call = called(world)
        world.logged()
        until("the witness has signed", lambda: "— witness.example.org " in Http(world.server.url).get("/log/checkpoint").text, seconds=20)
        file = tmp_path / "receipt.json"
        file.write_text(world.installation.run("audit", "receipt", call).stdout)
        checked = command("audit", "check-receipt", file, "--key", log_key, "--witness", key)
        assert checked.returncode == 0 and "seen by 1 witness" in checked.stdout, checked.stdout + checked.stderr
        # An older backup, whose head the witness has seen continued, is not served: also where the key store comes
        # back with it, which remembers by itself.
        world.server.stop()
        put_back(world, backup)
        assert "the key store has seen this log with" in refused(world)
        put_back(world, keys, world.installation.record.with_name("record.keys.db"))
        assert "witness.example.org has seen this log with" in refused(world)
        # As a log of another name it is served. The witness knows nothing of that one, and is not in its way.
        config.write_text(config.read_text() + '\n[log]\norigin = "calls.example.com/log-2"\n')
        world.start()
        called(world)
        world.logged()
        assert Http(world.server.url).get("/log/checkpoint").text.startswith("calls.example.com/log-2\n")
    finally:
        witness.stop()
