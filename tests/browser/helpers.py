"""What the tests stand on: the program under test, a plain HTTP client, waiting with a deadline."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar
from urllib.parse import urlencode, urlsplit

T = TypeVar("T")

# What the demo's Ana has on file. None of it may be on a desk before she has proved who she is.
# (The company is called Juniper & Co, so "Juniper" alone would say nothing.)
ANA_SECRETS = [
    "Torres", "ana.torres", "12 Juniper Lane", "Juniper Lane", "Springfield", "20500", "10004711",
    "12025550142", "2025550142", "555-0142", "5550142", "1984-03-09", "1984", "710004711", "Reading lamp",
]


def until(what: str, probe: Callable[[], T | None], seconds: float = 20) -> T:
    """Asks again and again until there is an answer; fails with `what` when the time is over."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    last: object = None
    while True:
        try:
            answer = probe()
        except OSError as e:
            answer, last = None, e
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}" + (f" (last: {last})" if last else ""))
        pause.wait(0.03)


_given: set[int] = set()
# Sound: Asterisk's (asterisk.py) and ours (test_asterisk_voice.py), which are found by these numbers.
_SOUND = range(24_000, 24_600)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port for a program of a test, given once. It lies below those that the system takes for outgoing
    connections: a program that is killed and comes back has to find it free, and whoever tries to reach it
    meanwhile must not be connected with themselves."""
    places = Path("/proc/sys/net/ipv4/ip_local_port_range")
    end = int(places.read_text().split()[0]) if places.exists() else 32_768
    dice, first = random.SystemRandom(), 10_000 if end > 12_000 else 1_025
    while True:
        port = dice.randrange(first, max(end, 2_000))
        if port in _SOUND:
            continue
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def binary() -> str:
    """The program under test."""
    path = os.environ.get("COUNTERSIGN_BIN")
    assert path, "COUNTERSIGN_BIN is not set: run `cargo xtask test --only browser`"
    assert Path(path).is_file(), f"COUNTERSIGN_BIN={path} is no file"
    return path


def environment(**more: str) -> dict[str, str]:
    """What a program gets: nothing that could colour its words or change its settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COUNTERSIGN_")}
    return clean | {"NO_COLOR": "1", "RUST_BACKTRACE": "1"} | more


def command(*args: str | Path, cwd: Path | None = None, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs one command of the program to its end."""
    return subprocess.run(
        [binary(), *map(str, args)], cwd=cwd, env=environment(**env), input=stdin if stdin is not None else "",
        capture_output=True, text=True, timeout=60, check=False,
    )


class Program:
    """A running `countersign demo` or `countersign serve`, with what it says kept in files."""

    # So that a test that fails before it stops one leaves nothing behind: see conftest.py.
    all: ClassVar[list[Program]] = []

    def __init__(self, folder: Path, *args: str | Path, **env: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.started = time.time()
        Program.all.append(self)
        self.out, self.err = folder / "stdout.txt", folder / "stderr.txt"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(  # noqa: S603
                [binary(), *map(str, args)], cwd=folder, env=environment(**env), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )

    def said(self) -> str:
        return f"--- stdout\n{self.out.read_text(errors='replace')}\n--- stderr\n{self.err.read_text(errors='replace')}"

    def wait_for(self, pattern: str, where: Path) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            found = re.search(pattern, where.read_text(errors="replace"))
            if not found and self.process.poll() is not None:
                raise AssertionError(f"the program ended with {self.process.returncode}\n{self.said()}")
            return found

        return until(f"{pattern!r} in {where.name}", look, seconds=30)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self, seconds: float = 15) -> float:
        """Asks it to stop, and tells how long that took."""
        before = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"it did not stop within {seconds} s\n{self.said()}") from None
        return time.monotonic() - before


class Demo(Program):
    """`countersign demo` on a free port, with a temporary folder of its own."""

    def __init__(self, folder: Path) -> None:
        scratch = folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, "demo", "--port", "0", TMPDIR=str(scratch))
        self.scratch = scratch
        self.url = self.wait_for(r"(http://127\.0\.0\.1:\d+)/handset", self.out)[1]
        self.http = Http(self.url)
        until("the demo is ready", lambda: self.http.get("/readyz").status == 200)

    def sign_in(self, name: str) -> Http:
        """Somebody at the desk, signed in over plain HTTP."""
        http = Http(self.url)
        reply = http.post(f"/demo/sign-in/desk/{name}")
        assert reply.status == 303, reply
        return http

    def lead(self) -> Http:
        http = Http(self.url)
        assert http.post("/demo/sign-in/admin").status == 303
        return http


class Reply:
    """What came back."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def location(self) -> str:
        return self.headers.get("location", "")

    def __repr__(self) -> str:
        return f"{self.status} {self.location or self.text[:800]}"


class Http:
    """A client that follows no redirect, keeps cookies, and says what a browser on our own pages says."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        given = dict(headers or {})
        if self.cookies:
            given["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        connection = http.client.HTTPConnection(self.host, timeout=15)
        try:
            connection.request(method, path, body=body, headers=given)
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        for cookie in reply.headers.get_all("set-cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Reply:
        given = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"} | headers
        return self.request("POST", path, urlencode(form or {}).encode(), given)

    def post_json(self, path: str, value: object) -> Reply:
        given = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
        return self.request("POST", path, json.dumps(value).encode(), given)

    def act(self, call: str, verb: str, **form: str) -> Reply:
        """A command at the desk, as its page sends it; answers with the panel."""
        return self.post(f"/desk/call/{call}/{verb}", form, **{"HX-Request": "true"})


class Stream:
    """An event stream that is read as it comes, until it ends, is closed, or the test is over."""

    opened: list[Stream] = []

    def __init__(self, http_client: Http, path: str) -> None:
        self._connection = http.client.HTTPConnection(http_client.host, timeout=60)
        cookies = "; ".join(f"{k}={v}" for k, v in http_client.cookies.items())
        self._connection.request("GET", path, headers={"Cookie": cookies} if cookies else {})
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, f"{path}: {self._answer.status}"
        self._socket = self._connection.sock
        self._lines: list[str] = []
        self.ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        Stream.opened.append(self)

    @classmethod
    def close_all(cls) -> None:
        while cls.opened:
            cls.opened.pop().close()

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                self._lines.append(line.decode().rstrip("\n"))
        except (OSError, ValueError, http.client.HTTPException):
            pass
        self.ended.set()

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    def data(self) -> list[str]:
        """What the events so far carry."""
        return [line.removeprefix("data: ") for line in list(self._lines) if line.startswith("data: ")]

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already
        self._reader.join(timeout=5)
        self._connection.close()


class Phone:
    """The demo's handset without its page."""

    def __init__(self, demo: Demo, person: str | None = None, number: str | None = None) -> None:
        self.http, self._n = demo.http, 0
        reply = self.http.post_json("/handset/calls", {"person": person, "number": number})
        assert reply.status == 200, reply
        self.call: str = json.loads(reply.text)["call"]
        self._heard = Stream(self.http, f"/handset/calls/{self.call}/events")
        until("the first words", self._heard.data)

    @property
    def now(self) -> list[dict[str, object]]:
        """What the telephone was last told to do."""
        return json.loads(self._heard.data()[-1])

    def key(self, keys: str) -> None:
        """Keys an entry, and waits for what comes next."""
        before = len(self._heard.data())
        self._n += 1
        reply = self.http.post_json(f"/handset/calls/{self.call}/keys", {"keys": keys, "command": f"key-{self._n}"})
        assert reply.status == 200, reply
        until(f"an answer to {keys}", lambda: len(self._heard.data()) > before)

    def says(self, text: str) -> bool:
        return any(text in str(d.get("text", "")) for d in self.now)

    def hang_up(self) -> None:
        assert self.http.post(f"/handset/calls/{self.call}/hang-up").status == 200


def queued(demo: Demo, person: str | None = "ana", proof: str | None = None) -> Phone:
    """A call that waits at the desk: Ana's by her number alone, or with her PIN."""
    phone = Phone(demo, person)
    if person == "ana":
        phone.key("2")
        phone.key(f"{proof}#" if proof else "0#")
    else:
        phone.key("1")
        phone.key("0")
    phone.key("2")
    return phone


def position(secret: str, text: str) -> int:
    """Where the secret is in the text, or -1. Digits count as a word of their own, perhaps in
    groups: by chance they are in many a time stamp and id."""
    if secret.isdigit():
        found = re.search(rf"(?<![0-9A-Za-z]){'[ .-]?'.join(secret)}(?![0-9A-Za-z])", text)
        return found.start() if found else -1
    return text.find(secret)


def none_of(secrets: list[str], text: str, where: str) -> None:
    """Fails if any of the secrets is in the text, with what stands around it."""
    for secret in secrets:
        at = position(secret, text)
        assert at < 0, f"{secret!r} is in {where}: …{text[max(0, at - 80):at + 80]}…"
