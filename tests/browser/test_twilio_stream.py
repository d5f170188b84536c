"""A caller through Twilio who is listened to: this plays Twilio, which opens a WebSocket to us (`<Connect><Stream>`),
signs it as its own library signs, and sends what the caller says as mu-law. The WebSocket is aiohttp's."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from twilio.request_validator import RequestValidator

from conftest import keep_words
from helpers import Http, none_of, until
from installation import PERSONAL, PUBLIC, World
from test_twilio import MAYA, code_in, level, panel, waiting
from test_voice import calibration  # noqa: F401
from twilio_world import ACCOUNT, TOKEN, Caller, Twiml
from voice_world import again, mulaw, person

STREAM = re.compile(r"wss://calls\.example\.com(/twilio/stream/[0-9a-f]{32}-\d+-[0-9a-f]{32})")
# What Twilio sends is 20 ms each.
FRAME = 160
LEVELS = sorted((mulaw(byte), byte) for byte in range(256))


def apart(work: Coroutine[object, object, int]) -> int:
    """In a thread of its own: in this one the browser's driver may have a loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def said(number: int, seed: int) -> bytes:
    """What one of the people says, once more, as the network carries it."""
    table = {}
    for sample in (made := [int(max(-1.0, min(1.0, s)) * 8191) for s in again(person(number), seed)]):
        if sample not in table:
            table[sample] = min(LEVELS, key=lambda level: abs(level[0] - sample / 8191))[1]
    return bytes(table[sample] for sample in made)


class MediaStream:
    """Twilio's end of one."""

    def __init__(self, caller: Caller, call_sid: str | None = None, signature: str | None = None) -> None:
        assert caller.now
        self.url = caller.now.one("Stream").attrib["url"]
        found = STREAM.fullmatch(self.url)
        assert found, self.url
        self.here = caller.address + found[1]
        self.call_sid = call_sid or caller.sid
        self.signature = RequestValidator(TOKEN).compute_signature(self.url, {}) if signature is None else signature
        self.name, self.number = "MZ" + "7" * 32, 0
        self.heard: list[str] = []

    async def _send(self, event: str, **more: object) -> None:
        self.number += 1
        await self.socket.send_json({"event": event, "sequenceNumber": str(self.number), "streamSid": self.name} | more)

    async def _speak(self, sound: bytes, key: str | None) -> None:
        """After the tone; silence comes behind it until the other side has heard enough."""
        if key:
            await self._send("dtmf", dtmf={"track": "inbound_track", "digit": key})
        for n, at in enumerate(range(0, len(sound) + 10 * 8000, FRAME), 1):
            frame = sound[at:at + FRAME].ljust(FRAME, b"\xff")
            await self._send("media", media={"track": "inbound", "chunk": str(n), "timestamp": str(n * 20), "payload": base64.b64encode(frame).decode()})

    async def _go(self, sound: bytes, key: str | None) -> int:
        headers = {"X-Twilio-Signature": self.signature, "User-Agent": "Twilio.TmeWs/1.0"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session, session.ws_connect(self.here, headers=headers) as self.socket:
            await self.socket.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
            await self._send("start", start={
                "accountSid": ACCOUNT, "streamSid": self.name, "callSid": self.call_sid, "tracks": ["inbound"], "customParameters": {},
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            })
            speaking = None
            async for message in self.socket:
                assert message.type == aiohttp.WSMsgType.TEXT, message
                told = json.loads(message.data)
                assert told["streamSid"] == self.name
                self.heard.append(told["event"])
                if told["event"] == "media":
                    assert len(base64.b64decode(told["media"]["payload"], validate=True)) % FRAME == 0
                else:
                    await self._send("mark", mark=told["mark"])
                    speaking = asyncio.create_task(self._speak(sound, key))
            if speaking:
                speaking.cancel()
                # What is said into a line that is closed is lost.
                [ended] = await asyncio.gather(speaking, return_exceptions=True)
                assert ended is None or isinstance(ended, (asyncio.CancelledError, aiohttp.ClientConnectionError)), ended
            assert self.socket.exception() is None
            return self.socket.close_code or 0

    def carries(self, sound: bytes = b"", key: str | None = None) -> list[str]:
        """All of it, until the server closes it: what it sent for the caller's ear."""
        assert apart(self._go(sound, key)) == 1000, "closed as WebSockets are (RFC 6455 §7.4.1)"
        return self.heard

    def refused(self) -> int:
        """The status with which it is not opened."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            apart(self._go(b"", None))
        return refused.value.status


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, calibration: Path) -> Iterator[World]:  # noqa: F811
    w = World(tmp_path / "world", f'[voice]\ncalibration = "{calibration}"\nconsent_text = "2026-11"\n')
    w.server.stop()
    config = w.installation.config
    config.write_text(config.read_text().replace("[twilio]\n", "[twilio]\nstreams = true\n", 1))
    keep_words(request, w.start())
    yield w
    w.close()


def talking(world: World, desk: Http) -> tuple[Caller, str]:
    """Maya has proved who she is with a code that was texted to her, and talks with an agent."""
    texts = len(world.twilio.texts(MAYA))
    caller = world.server.call(MAYA)
    caller.arrive()
    text = until("a code is texted", lambda: [m for m in world.twilio.texts(MAYA)[texts:] if "ey in code" in m["Body"]])[0]
    caller.key(code_in(text["Body"]))
    caller.key("2")
    call = waiting(desk)
    assert desk.act(call, "accept").status == 200
    assert "Dial" in caller.moved(world.twilio.next(f"Calls/{caller.sid}.json")["Url"]).verbs
    return caller, call


def asked(world: World, desk: Http, caller: Caller, call: str, verb: str, **more: str) -> Twiml:
    """What the caller is told because of what the agent does."""
    before = len(world.twilio.asked(f"Calls/{caller.sid}.json"))
    assert desk.act(call, verb, **more).status == 200
    return caller.moved(world.twilio.next(f"Calls/{caller.sid}.json", before)["Url"])


def consents(world: World, desk: Http, caller: Caller, call: str) -> Twiml:
    asked(world, desk, caller, call, "prove", action="change:address", factors="pin")
    caller.key("6402")
    assert level(desk, call) == "strong"
    consent = asked(world, desk, caller, call, "voice-enrol")
    assert consent.verbs == ["Gather"] and "press 2" in consent.words
    said = caller.key("1")
    assert said.verbs == ["Gather", "Connect", "Redirect"] and "After the tone, please say" in said.words
    return said


def heard(caller: Caller) -> Twiml:
    """Twilio goes on when the stream is closed."""
    assert caller.now
    return caller.moved(caller.now.one("Redirect").text or "")


def test_a_voice_is_enrolled_and_compared_over_media_streams(world: World) -> None:
    """`vanguard_voice`: consent by a key, a stream outside of the conference for each take, and on another call the
    same voice, a recording of the first, and somebody else."""
    desk = world.sign_in()
    caller, call = talking(world, desk)
    assert "voice-enrol" not in panel(desk, call), "one proof is not enough"
    consents(world, desk, caller, call)
    for n, seed in enumerate([1, 2, 3], start=1):
        sent = MediaStream(caller).carries(said(0, seed))
        assert sent[-1] == "mark" and set(sent[:-1]) == {"media"}, "a tone, and then a mark"
        back = heard(caller)
        assert ("Once more, please." in back.words) == (n < 3) and (back.verbs[-1] == "Dial") == (n == 3), back.text
    assert "We know your voice now" in back.words
    assert caller.completed() == 204

    caller, call = talking(world, desk)
    words = []
    for number, seed in [(0, 9), (0, 2), (1, 11)]:
        asking = asked(world, desk, caller, call, "voice-compare")
        assert "We compare your voice." in asking.words and asking.verbs == ["Gather", "Connect", "Redirect"]
        MediaStream(caller).carries(said(number, seed))
        assert heard(caller).verbs[-1] == "Dial"
        words += re.findall(r'id="voice">Voice: <b>([^<]*)</b>', panel(desk, call))
        assert level(desk, call) == "authenticated", "a voice proves nothing"
    assert words == ["alike", "not alike", "not alike"]
    outcomes = re.findall(r'"outcome":"(\w+)"', world.installation.run("audit", "export").stdout)
    assert outcomes[:2] == ["alike", "known_recording"] and outcomes[2] in ("unlike", "other_words"), outcomes
    assert caller.completed() == 204
    assert b"CSVT" not in world.stored(), "what describes a voice is nowhere but sealed"
    none_of(PERSONAL, world.said(), "what the server wrote")


def test_a_stream_is_one_calls_one_takes_and_twilios(world: World) -> None:
    """Not signed, signed for another address, of another call, opened twice: nothing of it counts. A stream that never
    comes is nobody heard, and a key is a no."""
    desk = world.sign_in()
    caller, call = talking(world, desk)
    consents(world, desk, caller, call)
    good, url = MediaStream(caller).signature, MediaStream(caller).url
    validator = RequestValidator(TOKEN)
    wrong = {
        "none": "", "nonsense": "AAAA", "another token's": RequestValidator("0" * 32).compute_signature(url, {}),
        "another address's": validator.compute_signature(url[:-1] + ("0" if url[-1] != "0" else "1"), {}), "a webhook's": validator.compute_signature(url.replace("wss:", "https:"), {}),
    }
    for name, signature in wrong.items():
        assert MediaStream(caller, signature=signature).refused() == 403, name
    # Signed, and the address is none of ours.
    other = MediaStream(caller)
    other.here = other.here[:-1] + ("0" if other.here[-1] != "0" else "1")
    other.signature = validator.compute_signature(PUBLIC.replace("https:", "wss:") + other.here.removeprefix(caller.address), {})
    assert other.refused() == 404
    # None of these has used it up. The same recording twice is no second take.
    take = said(0, 1)
    assert MediaStream(caller, signature=good).carries(take)[-1] == "mark"
    assert "Once more, please." in heard(caller).words
    MediaStream(caller).carries(take)
    assert "did not sound like the time before" in heard(caller).words
    # It says that it is of another call.
    before = world.installation.run("audit", "show", call).stdout
    stranger = MediaStream(caller, call_sid="CA" + "9" * 32)
    assert stranger.carries(said(0, 2)) == [], "not even the tone"
    assert world.installation.run("audit", "show", call).stdout == before
    # Used up by that, it is not opened again; Twilio goes on with the call, and nobody was heard.
    assert MediaStream(caller).refused() == 409
    left = heard(caller)
    assert left.verbs[-1] == "Dial" and "We leave it at that" in left.words, left.text

    # A no, over the stream.
    assert "press 2" in asked(world, desk, caller, call, "voice-enrol").words
    caller.key("1")
    MediaStream(caller).carries(key="*")
    assert MediaStream(caller).refused() == 410
    back = heard(caller)
    assert back.verbs[-1] == "Dial" and "As you like. Nothing changes." in back.words
    shown = world.installation.run("audit", "show", call).stdout
    assert shown.count("The phrase was said: a good take.") == 1 and shown.count("Nobody listens any more") == 2, shown
    assert "The caller consented to that (version 2026-11, en), with a key." in shown
    assert caller.completed() == 204
    none_of([*PERSONAL, url.rsplit("-", 1)[1]], world.said(), "what the server wrote")
