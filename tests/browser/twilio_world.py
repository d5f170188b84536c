"""Twilio as the server sees it: webhooks signed by Twilio's own library, TwiML held against
Twilio's own classes, and a stand-in for the REST service that notes what it was asked to do."""

from __future__ import annotations

import base64
import http.server
import inspect
import itertools
import json
import re
import threading
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from twilio.request_validator import RequestValidator
from twilio.twiml import TwiML
from twilio.twiml.voice_response import VoiceResponse

from helpers import Http, Reply, until

ACCOUNT = "AC" + "5" * 32
TOKEN = "8f1d4bb2c0a94c5e8c35f1f9a7a0b3d1"
OUR_NUMBER = "+18005551212"


@dataclass
class Request:
    """One thing that the REST service was asked."""

    path: str
    form: dict[str, str]


class FakeTwilio:
    """The REST service: takes messages and calls, and moves live calls."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.strangers = 0
        # How long it takes over a message.
        self.slow = 0.0
        self.lock = threading.Lock()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True))
                known = self.headers["Authorization"] == "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
                with fake.lock:
                    if known:
                        fake.requests.append(Request(self.path.removeprefix(f"/2010-04-01/Accounts/{ACCOUNT}/"), form))
                        n = len(fake.requests)
                    else:
                        fake.strangers, n = fake.strangers + 1, 0
                if fake.slow:
                    time.sleep(fake.slow)
                sid = re.search(r"Calls/(CA\w+)\.json", self.path)
                kind = "SM" if "Messages" in self.path else "CA"
                answer = {"sid": sid[1] if sid else f"{kind}{n:032x}", "status": "queued", "error_code": None}
                body = json.dumps(answer if known else {"code": 20003, "message": "Authenticate", "status": 401}).encode()
                self.send_response(201 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            # With the usual five, the system resets some connections when several nodes come at the same moment.
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)

    def asked(self, path: str) -> list[dict[str, str]]:
        """What was posted there so far."""
        with self.lock:
            return [r.form for r in self.requests if r.path == path]

    def next(self, path: str, seen: int = 0) -> dict[str, str]:
        """What was posted there after the first `seen` requests."""
        return until(f"a request to {path}", lambda: self.asked(path)[seen:])[0]

    def texts(self, to: str) -> list[dict[str, str]]:
        return [m for m in self.asked("Messages.json") if m["To"] == to]


class Twiml:
    """Instructions for a call, checked against Twilio's library."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = ET.fromstring(self.text)
        assert self.root.tag == "Response" and not self.root.attrib, self.text
        ours = VoiceResponse()
        for child in self.root:
            rebuild(child, ours)
        theirs = ET.canonicalize(ours.to_xml(), strip_text=True)
        assert ET.canonicalize(self.text, strip_text=True) == theirs, "Twilio's library writes it otherwise"

    @property
    def verbs(self) -> list[str]:
        return [child.tag for child in self.root]

    @property
    def words(self) -> str:
        return " ".join(e.text or "" for e in self.root.iter("Say"))

    def one(self, tag: str) -> ET.Element:
        found = list(self.root.iter(tag))
        assert len(found) == 1, f"one {tag} in {self.text}"
        return found[0]


def answered(reply: Reply) -> Twiml:
    """The instructions in an answer to a webhook."""
    assert reply.status == 200, reply
    assert reply.headers["content-type"].startswith("text/xml"), reply.headers["content-type"]
    return Twiml(reply.text)


def rebuild(element: ET.Element, parent: TwiML) -> None:
    """Builds the same verb with Twilio's library, which knows the names of verbs and attributes."""
    method = getattr(parent, snake(element.tag), None)
    assert callable(method), f"{parent.name} has no {element.tag}"
    known = inspect.signature(method).parameters
    attributes = {snake(name): value for name, value in element.attrib.items()}
    for name in attributes:
        assert name in known, f"{element.tag} has no attribute {name}"
    if element.text and element.text.strip():
        # The text is the first argument: message, url, name, …
        first = next(iter(known))
        assert first not in attributes, f"{first} is text and attribute"
        attributes[first] = element.text
    built = method(**attributes)
    for child in element:
        rebuild(child, built)


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Caller:
    """A call at Twilio: posts its webhooks, does what the answers say."""

    # Callers are made in several threads at once.
    _count = itertools.count(1)

    def __init__(self, address: str, public_url: str, number: str) -> None:
        self.sid = f"CA{next(Caller._count):032x}"
        self.address, self.public_url, self.number = address, public_url, number
        self.status = "ringing"
        self.now: Twiml | None = None

    def form(self, **more: str) -> dict[str, str]:
        """What Twilio sends with every webhook of a call."""
        return {
            "AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "CallSid": self.sid, "CallStatus": self.status, "Called": OUR_NUMBER,
            "CalledCountry": "US", "Caller": self.number, "CallerCity": "SAN JOSÉ", "CallerCountry": "US", "Direction": "inbound",
            "From": self.number, "To": OUR_NUMBER, "StirVerstat": "TN-Validation-Passed-A",
        } | more

    def signed(self, path: str, form: dict[str, str], signature: str | None = None) -> tuple[bytes, dict[str, str]]:
        """The body of a webhook and its headers, signed as Twilio signs it unless told otherwise."""
        if signature is None:
            signature = RequestValidator(TOKEN).compute_signature(self.public_url + path, form)
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", "User-Agent": "TwilioProxy/1.1"}
        if signature:
            headers["X-Twilio-Signature"] = signature
        return urlencode(form).encode(), headers

    def send(self, path: str, form: dict[str, str], signature: str | None = None) -> Reply:
        """Posts a webhook."""
        return Http(self.address).request("POST", path, *self.signed(path, form, signature))

    def local(self, url: str) -> str:
        """The path of an address that the server gave, which must be its public one."""
        assert url.startswith(self.public_url + "/"), url
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def take(self, reply: Reply) -> Twiml:
        self.now = answered(reply)
        return self.now

    def arrive(self) -> Twiml:
        answer = self.take(self.send("/twilio/voice", self.form()))
        self.status = "in-progress"
        return answer

    @property
    def action(self) -> str:
        assert self.now
        return self.local(self.now.one("Gather").attrib["action"])

    def key(self, digits: str) -> Twiml:
        return self.take(self.send(self.action, self.form(Digits=digits, FinishedOnKey="#")))

    def moved(self, url: str) -> Twiml:
        """Twilio fetches new instructions because the server moved the call."""
        return self.take(self.send(self.local(url), self.form()))

    def completed(self) -> int:
        self.status = "completed"
        return self.send("/twilio/status", self.form(CallDuration="61")).status

    def proves_by_pin(self, *entries: str) -> None:
        """Calls, asks for another way until a PIN is wanted, keys these, and hangs up."""
        asked = self.arrive()
        for _ in range(3):
            if "Please enter your PIN" in asked.words:
                break
            asked = self.key("*")
        for entry in entries if "PIN" in asked.words else ():
            self.key(entry)
        assert self.completed() in (200, 204)
