"""A telephone that is rung by SIP (RFC 3261), hears by RTP and keys by RFC 4733: as much of that as a
customer's has who answers, is busy, or lets it ring. Written for tests, and with nothing of ours in it."""

from __future__ import annotations

import re
import secrets
import select
import socket
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path

from helpers import until

PROMPTS = Path(__file__).parents[2] / "crates" / "server" / "prompts"
KEYS = "0123456789*#"
# Both zeros of mu-law (ITU-T G.711, table 2b) are one: a switch that encodes anew what it plays gives back the positive one.
ONE_ZERO = bytes(0xFF if byte == 0x7F else byte for byte in range(256))
# This long of a recording, from where it is loud, and nobody takes it for another: half a second.
SURE = 4_000


def loud(byte: int) -> bool:
    """At least 1,980 of 32,767: in the upper half of the chords."""
    return ~byte & 0x70 >= 0x40


def recording(name: str, lang: str = "en") -> bytes:
    """A part of a recording that comes with the program, as mu-law, by which it is known."""
    [file] = [file for file in (PROMPTS / lang).glob(f"{name}.*.wav") if re.fullmatch(rf"{re.escape(name)}\.[0-9a-f]{{8}}\.wav", file.name)]
    whole = file.read_bytes()
    assert struct.unpack("<H", whole[20:22]) == (7,), "mu-law"
    sound = whole[whole.index(b"data") + 8:]
    begins = next(n for n, byte in enumerate(sound) if loud(byte))
    return sound[begins:begins + SURE].translate(ONE_ZERO)


@dataclass
class Message:
    """A request or an answer."""

    first: str
    headers: list[tuple[str, str]]
    body: str

    @classmethod
    def parse(cls, datagram: bytes) -> Message:
        head, _, body = datagram.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        return cls(first, [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)], body)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str:
        [value] = self.all(name)
        return value

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]


@dataclass
class Ringing:
    """A call that came in."""

    invite: Message
    peer: tuple[str, int]
    tag: str = field(default_factory=lambda: secrets.token_hex(6))
    # In their order: "rings", "busy", "declined", "answered", "connected" (the answer is acknowledged), "cancelled", "over".
    states: list[str] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)

    @property
    def number(self) -> str:
        """Whom it is for."""
        return re.fullmatch(r"INVITE sips?:([^@]+)@\S+ SIP/2\.0", self.invite.first)[1]  # type: ignore[index]

    @property
    def shown(self) -> str:
        """Who calls, as it is shown."""
        return re.search(r"sips?:([^@>]+)@", self.invite.one("from"))[1]  # type: ignore[index]

    def offered(self) -> tuple[tuple[str, int], int]:
        """Where their sound goes, and the payload type of keys (RFC 4733)."""
        sdp = self.invite.body
        address, port = re.search(r"c=IN IP4 (\S+)", sdp), re.search(r"m=audio (\d+) RTP/AVP(?: \d+)*", sdp)
        keys = re.search(r"a=rtpmap:(\d+) telephone-event/8000", sdp)
        assert address and port and keys, sdp
        assert re.search(r"m=audio \d+ RTP/AVP(?: \d+)* ?\b0\b", sdp), f"mu-law is offered: {sdp}"
        return (address[1], int(port[1])), int(keys[1])

    def hears(self, name: str, lang: str = "en") -> bool:
        """Whether this recording was heard so far."""
        return recording(name, lang) in bytes(self.heard).translate(ONE_ZERO)


class SipPhone:
    """Rings whenever it is called, until somebody does something; busy, it says so at once."""

    def __init__(self) -> None:
        self.sip, self.rtp, self.wake = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
        for one in (self.sip, self.rtp, self.wake):
            one.bind(("127.0.0.1", 0))
        self.port: int = self.sip.getsockname()[1]
        self.busy = False
        self.calls: list[Ringing] = []
        self.sequence, self.clock, self.ssrc = 0, 0, secrets.token_bytes(4)
        self.open = True
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.open = False
        self.sip.sendto(b"", self.wake.getsockname())
        self.thread.join(timeout=5)
        for one in (self.sip, self.rtp, self.wake):
            one.close()

    # What a person does.

    def rings(self, seen: int = 0) -> Ringing:
        """The call that is there after the first `seen` ones."""
        return until("the telephone rings", lambda: self.calls[seen:])[0]

    def pick_up(self, call: Ringing) -> None:
        address, keys = call.offered()
        rtp = self.rtp.getsockname()[1]
        sdp = (f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {rtp} RTP/AVP 0 {keys}\r\n"
               f"a=rtpmap:0 PCMU/8000\r\na=rtpmap:{keys} telephone-event/8000\r\na=fmtp:{keys} 0-15\r\na=ptime:20\r\n")
        call.states.append("answered")
        self._answer(call.invite, "200 OK", call, sdp)
        until("the answer is acknowledged", lambda: "connected" in call.states)

    def decline(self, call: Ringing) -> None:
        call.states.append("declined")
        self._answer(call.invite, "603 Decline", call)

    def press(self, call: Ringing, keys: str) -> None:
        """Each a tenth of a second, with a pause between them, as long as packets of sound take."""
        to, kind = call.offered()
        pace = threading.Event()
        for key in keys:
            stamp = struct.pack(">I", self.clock)
            # Its end is told three times (RFC 4733 §2.5.1.4), and then nothing for 100 ms.
            for n in range(1, 14):
                if n <= 8:
                    head = bytes([0x80, kind | (0x80 if n == 1 else 0)]) + struct.pack(">H", self.sequence) + stamp + self.ssrc
                    event = bytes([KEYS.index(key), 10 | (0x80 if n >= 6 else 0)]) + struct.pack(">H", 160 * min(n, 6))
                    self.rtp.sendto(head + event, to)
                    self.sequence = (self.sequence + 1) % 65_536
                self.clock += 160
                pace.wait(0.02)

    def hang_up(self, call: Ringing) -> None:
        contact = re.search(r"<(sips?:[^>]+)>", call.invite.one("contact"))
        assert contact
        ours, theirs = call.invite.one("to") + f";tag={call.tag}", call.invite.one("from")
        lines = [
            f"BYE {contact[1]} SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{secrets.token_hex(8)}", "Max-Forwards: 70",
            f"From: {ours}", f"To: {theirs}", f"Call-ID: {call.invite.one('call-id')}", "CSeq: 1 BYE", "Content-Length: 0",
        ]
        self.sip.sendto("\r\n".join([*lines, "", ""]).encode(), call.peer)

    # What the telephone does.

    def _answer(self, request: Message, status: str, call: Ringing, body: str = "") -> None:
        to = request.one("to")
        lines = [f"SIP/2.0 {status}", *(f"Via: {via}" for via in request.all("via")), *(f"Record-Route: {route}" for route in request.all("record-route")),
                 f"From: {request.one('from')}", f"To: {to}" + ("" if ";tag=" in to else f";tag={call.tag}"),
                 f"Call-ID: {request.one('call-id')}", f"CSeq: {request.one('cseq')}"]
        if body:
            lines += [f"Contact: <sip:127.0.0.1:{self.port}>", "Content-Type: application/sdp"]
        self.sip.sendto("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode(), call.peer)

    def _serve(self) -> None:
        while self.open:
            for one in select.select([self.sip, self.rtp, self.wake], [], [])[0]:
                datagram, peer = one.recvfrom(65_536)
                if one is self.sip:
                    self._take(Message.parse(datagram), peer)
                elif one is self.rtp and len(datagram) > 12 and datagram[1] & 0x7F == 0 and self.calls:
                    self.calls[-1].heard += datagram[12:]

    def _take(self, message: Message, peer: tuple[str, int]) -> None:
        call = next((call for call in self.calls if call.invite.one("call-id") == message.one("call-id")), None)
        match message.method:
            # Once: asked again, it is ringing already.
            case "INVITE" if call is None:
                call = Ringing(message, peer, states=["busy" if self.busy else "rings"])
                self._answer(message, "486 Busy Here" if self.busy else "180 Ringing", call)
                self.calls.append(call)
            case "ACK" if call and "answered" in call.states:
                call.states.append("connected")
            case "CANCEL" if call:
                self._answer(message, "200 OK", call)
                self._answer(call.invite, "487 Request Terminated", call)
                call.states.append("cancelled")
            case "BYE" if call:
                self._answer(message, "200 OK", call)
                call.states.append("over")
            case "SIP/2.0" if call and message.one("cseq").endswith("BYE"):
                call.states.append("over")
            case "OPTIONS":
                self._answer(message, "200 OK", Ringing(message, peer))
