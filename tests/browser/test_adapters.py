"""Telephone systems beside Twilio against `countersign serve`: jambonz with its own schema and client
as oracles, and Amazon Connect through the forwarder that is shipped."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import importlib.util
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import keep_words
from helpers import Http, Reply, none_of, until
from installation import AGENT_PHONE, PERSONAL, PUBLIC, World
from test_openid import HERE, node_packages

ACCOUNT = "0a1b2c3d-0000-4000-8000-00000000000a"
SECRET, KEY, CONNECT_SECRET = "wh_a_secret_of_these_tests", "an-api-key-of-these-tests", "a-secret-of-the-forwarder"
MAYA = "+12025550171"
FORWARDER = Path(__file__).parent.parent.parent / "deploy" / "connect" / "forwarder.py"


class Oracle:
    """jambonz's schema and client, in a process of their own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        shutil.copy(HERE / "jambonz.mjs", folder / "jambonz.mjs")
        (folder / "node_modules").symlink_to(node_packages() / "node_modules")
        self.process = subprocess.Popen(["node", "jambonz.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603, S607

    def ask(self, **question: object) -> dict[str, object]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


class FakeApi:
    """jambonz's REST API: notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, object]]] = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                known = self.headers["Authorization"] == f"Bearer {KEY}"
                if known:
                    fake.asked.append((self.command, self.path, body))
                answer = json.dumps({"sid": "0a1b2c3d-0000-4000-8000-0000000000ff"}).encode()
                self.send_response((202 if self.command == "PUT" else 201) if known else 401)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_PUT

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def next(self, method: str, seen: int = 0) -> tuple[str, dict[str, object]]:
        found = until(f"a {method} to jambonz", lambda: [(path, body) for m, path, body in self.asked if m == method][seen:])
        return found[0]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)


def signed(secret: str, body: bytes, at: int) -> str:
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


class Call:
    """A call at jambonz: signs as it does, and shows each answer to the oracle."""

    def __init__(self, address: str, oracle: Oracle, number: str, last: str) -> None:
        self.address, self.oracle, self.number = address, oracle, number
        self.sid = f"0a1b2c3d-0000-4000-8000-{last:0>12}"
        self.verbs: list[dict[str, object]] = []

    def post(self, path: str, secret: str = SECRET, skew: int = 0, **more: object) -> Reply:
        event = {"call_sid": self.sid, "account_sid": ACCOUNT, "direction": "inbound", "from": self.number, "to": "+12025550101", "call_status": "in-progress"} | more
        body = json.dumps(event).encode()
        header = signed(secret, body, int(time.time()) + skew)
        if secret == SECRET and skew <= 0 and skew > -290:
            assert self.oracle.ask(verify={"secret": SECRET, "header": header, "body": body.decode()}) == {"ok": True}
        return Http(self.address).request("POST", path, body, {"Content-Type": "application/json", "Jambonz-Signature": header})

    def take(self, reply: Reply) -> list[dict[str, object]]:
        assert reply.status == 200, reply
        self.verbs = json.loads(reply.text)
        assert self.oracle.ask(verbs=self.verbs) == {"ok": len(self.verbs)}, self.verbs
        return self.verbs

    def arrive(self) -> list[dict[str, object]]:
        return self.take(self.post("/jambonz/call", call_status="ringing"))

    @property
    def hook(self) -> str:
        hook = str(next(verb["actionHook"] for verb in reversed(self.verbs) if "actionHook" in verb))
        assert hook.startswith(PUBLIC + "/"), hook
        return hook.removeprefix(PUBLIC)

    def key(self, digits: str) -> list[dict[str, object]]:
        return self.take(self.post(self.hook, reason="dtmfDetected", digits=digits))

    def hear(self, text: str, confidence: float) -> list[dict[str, object]]:
        speech = {"language_code": "es-ES", "channel_tag": 1, "is_final": True, "alternatives": [{"confidence": confidence, "transcript": text}], "vendor": {"name": "a vendor"}}
        return self.take(self.post(self.hook, reason="speechDetected", speech=speech))

    def moved(self, hook: dict[str, object]) -> list[dict[str, object]]:
        assert hook["method"] == "POST"
        return self.take(self.post(str(hook["url"]).removeprefix(PUBLIC)))

    @property
    def words(self) -> str:
        return json.dumps(self.verbs)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, FakeApi]]:
    api, keys = FakeApi(), tmp_path / "secrets"
    keys.mkdir()
    for name, text in [("webhook", SECRET), ("api", KEY), ("connect", CONNECT_SECRET)]:
        (keys / name).write_text(f"{text}\n")
        (keys / name).chmod(0o600)
    w = World(tmp_path / "world", f"""
[jambonz]
account_sid = "{ACCOUNT}"
webhook_secret_file = "{keys / 'webhook'}"
api_key_file = "{keys / 'api'}"
api_url = "{api.url}"
from = "+12025550101"
hear_verbal_passwords = true
[jambonz.agent_phones]
robin = "{AGENT_PHONE}"

[connect]
secret_file = "{keys / 'connect'}"
""")
    keep_words(request, w.server)
    yield w, api
    w.close()
    api.close()


def test_a_call_through_jambonz(world: tuple[World, FakeApi], tmp_path: Path) -> None:
    w, api = world
    oracle = Oracle(tmp_path / "oracle")
    # What jambonz's client refuses, and what it takes although it should not, is refused here.
    call = Call(w.server.url, oracle, MAYA, "c1")
    body = b"{}"
    for header in ["", "t=1,v1=00", signed("another", body, int(time.time())), signed(SECRET, body, int(time.time()) - 301)]:
        assert "error" in oracle.ask(verify={"secret": SECRET, "header": header, "body": "{}"}), header
    future = signed(SECRET, body, int(time.time()) + 3600)
    assert oracle.ask(verify={"secret": SECRET, "header": future, "body": "{}"}) == {"ok": True}
    for wrong in [{"secret": "another"}, {"skew": -301}, {"skew": 3600}]:
        assert call.post("/jambonz/call", **wrong).status == 403, wrong  # type: ignore[arg-type]

    call.arrive()
    assert "Welcome to Hearth & Home." in call.words and "We know the number" in call.words
    none_of(PERSONAL, call.words, "the greeting")
    for _ in range(3):
        if "Please enter your PIN" not in call.words:
            call.key("*")
    assert "Please enter your PIN" in call.words
    call.key("6402")
    assert "that was accepted" in call.words
    call.key("2")
    assert "/assets/music/lively.wav" in call.words

    desk = w.sign_in()
    name = re.findall(r'data-call="(call_[0-9a-f]{32})"', desk.get("/desk/list").text)[0]
    assert desk.act(name, "accept").status == 200
    path, update = api.next("PUT")
    assert path == f"/v1/Accounts/{ACCOUNT}/Calls/{call.sid}"
    call.moved(update["call_hook"])  # type: ignore[arg-type]
    conference = call.verbs[-1]
    assert conference["verb"] == "conference" and str(conference["name"]).startswith(name)
    # The agent's telephone is rung, and is in the same conference.
    path, made = api.next("POST")
    assert (path, made["to"]) == (f"/v1/Accounts/{ACCOUNT}/Calls", {"type": "phone", "number": AGENT_PHONE})
    agent = Call(w.server.url, oracle, AGENT_PHONE, "a1")
    assert agent.moved(made["call_hook"])[0]["name"] == conference["name"]  # type: ignore[index, arg-type]

    # A proof in the middle of the call: out of the conference, and back.
    texts = len(w.twilio.asked("Messages.json"))
    assert "challenge" in desk.act(name, "prove", action="change:address", factors="sms_code").text
    code = re.search(r"code (\d{6})", w.twilio.next("Messages.json", seen=texts)["Body"])
    assert code
    call.moved(api.next("PUT", seen=1)[1]["call_hook"])  # type: ignore[arg-type]
    assert "The agent cannot hear your keys" in call.words and "conference" not in call.words
    call.key(code[1])
    assert (call.verbs[-1]["verb"], call.verbs[-1]["name"]) == ("conference", conference["name"])
    assert 'data-level="strong"' in desk.get(f"/desk/call/{name}/panel").text
    assert call.post("/jambonz/status", call_status="completed").status == 204
    none_of([*PERSONAL, code[1], SECRET, KEY], w.said(), "the logs")
    oracle.close()


def test_a_verbal_password_is_said_to_jambonz(world: tuple[World, FakeApi], tmp_path: Path) -> None:
    """By verbs that jambonz's own schema takes, outside the conference, and nobody else learns the word."""
    w, api = world
    oracle, word = Oracle(tmp_path / "oracle"), "linterna azul"
    ines = {"account_number": "20008813", "name": "Ines Duarte", "language": "es", "mobile": "+12025550173", "verbal_password": word}
    done = w.installation.run("import", w.installation.customers([ines], "more.csv"))
    assert done.returncode == 0, done.stderr
    call = Call(w.server.url, oracle, "+12025550173", "c2")
    call.arrive()
    for _ in range(6):
        if "/assets/music/" not in call.words and "music" not in call.hook:
            call.key("0")
        if call.verbs[-1].get("play"):
            break
    desk = w.sign_in()
    name = re.findall(r'data-call="(call_[0-9a-f]{32})"', desk.get("/desk/list").text)[0]
    assert desk.act(name, "accept").status == 200
    call.moved(api.next("PUT")[1]["call_hook"])  # type: ignore[arg-type]
    panel = desk.act(name, "prove", action="", factors="verbal_password").text
    assert "You hear nothing of it" in panel and "Word the caller says" not in panel, panel
    call.moved(api.next("PUT", seen=1)[1]["call_hook"])  # type: ignore[arg-type]
    asked = call.verbs[-1]
    assert (asked["input"], asked["recognizer"]) == (["digits", "speech"], {"vendor": "default", "language": "es-ES", "profanityFilter": False}), asked
    assert "hints" not in call.words and "conference" not in call.words
    call.hear(word, 0.5)
    assert call.verbs[-1]["input"] == ["digits", "speech"], "what it is not sure of was not said"
    call.hear("Linterna azul.", 0.93)
    assert call.verbs[-1]["verb"] == "conference"
    assert 'data-level="authenticated"' in desk.get(f"/desk/call/{name}/panel").text
    none_of(["linterna", "Linterna", "azul"], w.said() + w.installation.run("audit", "export").stdout, "logs and record")
    oracle.close()


def test_the_forwarder_of_amazon_connect(world: tuple[World, FakeApi], monkeypatch: pytest.MonkeyPatch) -> None:
    w, _ = world
    spec = importlib.util.spec_from_file_location("forwarder", FORWARDER)
    assert spec and spec.loader
    forwarder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(forwarder)
    monkeypatch.setenv("COUNTERSIGN_URL", f"{w.server.url}/connect/event")
    monkeypatch.setenv("COUNTERSIGN_CONNECT_SECRET", CONNECT_SECRET + "\n")

    def invoke(**parameters: str) -> dict[str, str]:
        contact = {
            "ContactId": "c-2", "InitialContactId": "c-1", "Channel": "VOICE", "CustomerEndpoint": {"Address": MAYA, "Type": "TELEPHONE_NUMBER"},
            "SystemEndpoint": {"Address": "+12025550101", "Type": "TELEPHONE_NUMBER"}, "Attributes": {},
        }
        return forwarder.handler({"Name": "ContactFlowEvent", "Details": {"ContactData": contact, "Parameters": parameters}}, None)

    first = invoke(do="start")
    assert first["next"].startswith(("key_", "code_")) and "Hearth &amp; Home" in first["ssml"] and first["voice"] == "Joanna"
    assert all(isinstance(value, str) for value in first.values())
    again = invoke(do="start")
    assert again["step"] == first["step"] or again["next"] == first["next"]
    assert "number on file" in invoke(do="keys", keys="*", step=first["step"])["ssml"]
    # Whoever hung up: the caller, and not an agent's leg.
    ended = {"source": "aws.connect", "detail": {"eventType": "DISCONNECTED", "contactId": "c-2", "initialContactId": "c-1", "disconnectReason": "AGENT_DISCONNECT"}}
    assert forwarder.handler(ended, None) == {}
    assert invoke(do="now")["next"] != "hang_up"
    ended["detail"]["disconnectReason"] = "CUSTOMER_DISCONNECT"  # type: ignore[index]
    forwarder.handler(ended, None)
    assert invoke(do="now")["next"] == "hang_up"
    # Another secret is nobody's.
    monkeypatch.setenv("COUNTERSIGN_CONNECT_SECRET", "another secret, long enough")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        invoke(do="now")
