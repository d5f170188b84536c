"""A contact-center product that has the caller on its own line, with openid-client as its library:
the backchannel grant (poll and ping) and the device grant, against `countersign serve`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from conftest import keep_words
from helpers import Http, free_port, none_of
from installation import PERSONAL, PUBLIC, World

HERE = Path(__file__).parent.parent / "node"
SECRET, API_KEY = "the-long-random-secret-of-the-till", "a-key-of-the-companys-own-site"
MAYA = "20008811"


def node_packages() -> Path:
    path = os.environ.get("COUNTERSIGN_NODE_PACKAGES")
    if not path or not shutil.which("node"):
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)("COUNTERSIGN_NODE_PACKAGES is not set: run `cargo xtask test --only browser`")
    return Path(path or "")


class Programs:
    """The company's programs: what they are configured as, and the library that they speak with."""

    def __init__(self, folder: Path) -> None:
        # A module finds its packages beside itself, and none are in the repository.
        self.folder = folder
        folder.mkdir(parents=True)
        for file in HERE.glob("*.mjs"):
            shutil.copy(file, folder / file.name)
        (folder / "node_modules").symlink_to(node_packages() / "node_modules")
        made = json.loads(self.node("key.mjs"))
        self.key, self.ping_port = json.dumps(made["private"]), free_port()
        (folder / "bot.json").write_text(json.dumps(made["public"]))
        self.settings = f"""
[[api]]
name = "site"
key_sha256 = "{hashlib.sha256(API_KEY.encode()).hexdigest()}"

[[oauth_clients]]
id = "till"
name = "The till"
secret_sha256 = "{hashlib.sha256(SECRET.encode()).hexdigest()}"
grants = ["ciba", "device"]

[[oauth_clients]]
id = "center"
name = "The contact center"
jwks_file = "{folder / 'bot.json'}"
grants = ["ciba"]
delivery = "ping"
notification_endpoint = "http://127.0.0.1:{self.ping_port}/told"
"""

    def node(self, *args: str) -> str:
        return subprocess.run(["node", *args], cwd=self.folder, capture_output=True, text=True, timeout=60, check=True).stdout


class Asking:
    """A program that asks; it says what it was told, and in the end what came of it."""

    def __init__(self, programs: Programs, world: World, mode: str, **env: str) -> None:
        given = {
            "PATH": os.environ["PATH"], "ISSUER": PUBLIC, "SERVER": world.server.url, "CLIENT_ID": "till", "CLIENT_SECRET": SECRET,
            "LOGIN_HINT": MAYA, "PING_PORT": str(programs.ping_port),
        }
        self.process = subprocess.Popen(
            ["node", "ask.mjs", mode], cwd=programs.folder, env=given | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        self.told = self.line()

    def line(self) -> dict:
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def end(self) -> dict:
        last = self.line()
        self.process.wait(timeout=20)
        return last


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "programs")


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, programs: Programs) -> Iterator[World]:
    w = World(tmp_path / "world", programs.settings)
    keep_words(request, w.server)
    yield w
    w.close()


# ── The customer's side: the portal's own routes ───────────────────────────────────────────────


def portal(world: World, account_number: str = MAYA) -> Http:
    """The customer in the portal, come from the company's own site. Whoever was never there cannot
    be asked to approve anything."""
    site = Http(world.server.url)
    made = site.request(
        "POST", "/api/v1/portal-sessions", json.dumps({"account_number": account_number}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}"},
    )
    assert made.status == 201, made
    me = Http(world.server.url)
    assert me.get(json.loads(made.text)["url"].removeprefix(PUBLIC)).status == 200
    assert "cs_me" in me.cookies
    return me


def open_request(me: Http) -> str:
    page = me.get("/me").text
    found = re.findall(r"/me/approvals/(chal_[0-9a-f]{32})", page)
    assert found, "the portal shows no request"
    return found[0]


def type_code(me: Http, code: str) -> None:
    reply = me.post(f"/me/approvals/{open_request(me)}/type", {"code": code})
    assert reply.status in (200, 303), reply


def decline(me: Http) -> None:
    reply = me.post(f"/me/approvals/{open_request(me)}/decline")
    assert reply.status in (200, 303), reply


def type_device_code(me: Http, code: str) -> None:
    shown = me.post("/me/code", {"code": code})
    assert shown.status in (200, 303), shown
    confirmed = me.post("/me/code/confirm", {"code": code, "answer": "yes"})
    assert confirmed.status in (200, 303), confirmed


@pytest.fixture
def me(world: World) -> Http:
    return portal(world)


# ── Tests ──────────────────────────────────────────────────────────────────────────────────────


def is_mayas(end: dict, client: str) -> None:
    assert "failed" not in end, end
    claims = end["claims"]
    assert (claims["iss"], claims["aud"]) == (PUBLIC, client)
    assert claims["sub"].startswith("acct_") and claims["acr"] == "urn:countersign:acr:authenticated" and claims["amr"] == ["mca"]
    assert end["signed"] and end["access_signed"] and end["token_type"].lower() == "bearer"


def test_a_caller_proves_in_the_portal_while_the_program_polls(world: World, programs: Programs, me: Http) -> None:
    asking = Asking(programs, world, "poll", BINDING_MESSAGE="Refund of 20 €, till 4")
    assert asking.told["interval"] == 5 and len(asking.told["approval_code"]) == 6
    shown = unescape(me.get("/me").text)
    assert "Refund of 20 €, till 4" in shown and "The till" in shown
    type_code(me, asking.told["approval_code"])
    is_mayas(asking.end(), "till")
    none_of(PERSONAL + [SECRET, asking.told["auth_req_id"], asking.told["approval_code"]], world.said(), "the log")


def test_the_program_is_told_when_the_customer_has_answered(world: World, programs: Programs, me: Http) -> None:
    """Signed sign-in, and a notice that is repeated after a failure of the program's own."""
    asking = Asking(programs, world, "ping", CLIENT_ID="center", PRIVATE_JWK=programs.key)
    assert "auth_req_id" in asking.told, asking.told
    type_code(me, asking.told["approval_code"])
    is_mayas(asking.end(), "center")


def test_the_customer_says_no(world: World, programs: Programs, me: Http) -> None:
    asking = Asking(programs, world, "poll")
    decline(me)
    assert asking.end()["failed"] == "access_denied"


def test_a_device_learns_whose_it_is(world: World, programs: Programs, me: Http) -> None:
    asking = Asking(programs, world, "device")
    assert re.fullmatch(r"[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}", asking.told["user_code"]), asking.told
    assert asking.told["verification_uri"] == f"{PUBLIC}/me/code"
    type_device_code(me, asking.told["user_code"])
    is_mayas(asking.end(), "till")


def test_the_library_understands_the_errors(world: World, programs: Programs) -> None:
    """Nobody is meant, nobody can be asked, and nobody is let in."""
    nobody = Asking(programs, world, "poll", LOGIN_HINT="99999999")
    assert nobody.told["failed"] == "unknown_user_id", nobody.told
    never_there = Asking(programs, world, "poll", LOGIN_HINT="20008812")
    assert never_there.told["failed"] == "access_denied", never_there.told
    stranger = Asking(programs, world, "poll", CLIENT_SECRET="wrong")
    assert stranger.told["status"] == 401, stranger.told
    signed = Asking(programs, world, "poll", CLIENT_ID="center", PRIVATE_JWK=programs.key)
    assert signed.told["failed"] == "invalid_request", "it is signed in, and has to send a word for the notice"
    text = Asking(programs, world, "poll", BINDING_MESSAGE="x" * 201)
    assert text.told["failed"] == "invalid_binding_message", text.told
    waiting = Asking(programs, world, "device")
    assert "user_code" in waiting.told, waiting.told
    waiting.process.kill()
    waiting.process.wait()
    none_of(PERSONAL + [SECRET, "99999999", waiting.told["device_code"]], world.said(), "the log")
