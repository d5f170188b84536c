"""Callers who are listened to, over a real Asterisk: it copies what they say (snoop) and sends it to us by RTP
(external media). The caller is `countersign call`, which says a recording when it is told to."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from asterisk import PASSWORD, Asterisk
from helpers import Http, none_of, until
from installation import PERSONAL, World
from test_asterisk import MAYA, Caller, asterisk, call, in_bridge, new_world, record, story, waiting  # noqa: F401
from test_voice import calibration  # noqa: F401
from voice_world import DATA, again, person, write

# Ours, for sound; away from Asterisk's own.
PORTS = (24500, 24599)
CODE = re.compile(r"code (\d{6})\.")
# What a caller is listened to with: a channel that copies, one that sends, and a bridge of the two.
EAR = ["countersign-ear.", "countersign-hears.", "countersign-sends."]


@pytest.fixture
def world(asterisk: Asterisk, calibration: Path, tmp_path: Path) -> Iterator[World]:  # noqa: F811
    """One that listens to callers."""
    it = new_world(asterisk, tmp_path, f'sound_address = "127.0.0.1"\nsound_ports = [{PORTS[0]}, {PORTS[1]}]\n', f"""
[voice]
calibration = "{calibration}"
consent_text = "2026-11"
""")
    yield it
    # Shown if the test fails.
    print(it.said(), asterisk.said())
    it.close()


@dataclass
class Office:
    """Robin's desk, Maya's calls, and what they are told."""

    world: World
    asterisk: Asterisk
    desk: Http
    folder: Path

    def next_call(self, known: set[str]) -> str:
        """The call that is on record beside these."""
        new = until("a call is on record", lambda: set(re.findall(r'"stream":"call/([0-9a-f]{32})"', record(self.world))) - known)
        [one] = new
        return f"call_{one}"

    def take_call(self, dial, known: tuple[str, ...] = ()) -> tuple[Caller, str]:  # noqa: ANN001
        """Maya calls, proves who she is with the code that is texted to her, and talks with Robin."""
        texts = len(self.world.twilio.texts(MAYA))
        maya = dial(to="28005551212")
        text = until("a code is texted", lambda: [m for m in self.world.twilio.texts(MAYA)[texts:] if CODE.search(m["Body"])])[0]
        maya.key(f"{CODE.search(text['Body'])[1]}#")  # type: ignore[index]
        live = self.next_call({call.removeprefix("call_") for call in known})
        until("she has proved it", lambda: "Proved: texted code" in story(self.world, live))
        maya.key("2")
        until("she waits", lambda: waiting(self.desk) == live)
        assert self.desk.act(live, "accept").status == 200
        self.they_talk()
        return maya, live

    def they_talk(self) -> None:
        until("caller and agent are connected", lambda: in_bridge(self.asterisk) == ["agent", "caller"])

    def strong(self, maya: Caller, live: str) -> None:
        """With her PIN besides."""
        self.desk.act(live, "prove", action="change:address", factors="pin")
        until("the agent is alone", lambda: in_bridge(self.asterisk) == ["agent"])
        maya.key("6402#")
        until("she is strong", lambda: "Proved: PIN" in story(self.world, live))
        self.they_talk()

    def consents(self, maya: Caller, live: str) -> None:
        assert self.desk.act(live, "voice-enrol").status == 200
        until("the agent is alone", lambda: in_bridge(self.asterisk) == ["agent"])
        maya.key("1")

    def ear(self) -> list[str]:
        """What there is of it."""
        there = [channel["id"] for channel in self.asterisk.channels()] + [bridge["id"] for bridge in self.asterisk.bridges()]
        return sorted(one for one in there if one.startswith(tuple(EAR)))

    def listens(self) -> None:
        """All of it is there, once, and the agent is alone, in a bridge of their own or in none."""
        until("somebody listens", lambda: [re.match(r"[a-z-]+\.", one)[0] for one in self.ear()] == EAR)  # type: ignore[index]
        inside = until("the bridge has both", lambda: {b["id"].split(".")[0]: b["channels"] for b in self.asterisk.bridges() if len(b["channels"]) == 2})
        [(bridge, channels)] = inside.items()
        assert bridge == "countersign-hears" and sorted(c.split(".")[0] for c in channels) == ["countersign-ear", "countersign-sends"]
        others = [c.split(".")[0] for b in self.asterisk.bridges() if not b["id"].startswith("countersign-hears.") for c in b["channels"]]
        assert others in ([], ["countersign-agent"]), others

    def take(self, seed: int) -> str:
        """What her telephone says: the phrase, once more."""
        return f"@{write(self.folder / f'{seed}.wav', again(person(0), seed))}"


def tone(maya: Caller, number: int) -> None:
    """From here on somebody listens."""
    until(f"tone {number} is heard", lambda: maya.text.count("… a tone") >= number, seconds=60)


def takes(world: World, live: str, number: int) -> str:
    """What is on record of the call once so many takes are."""
    return until(f"take {number} is on record", lambda: said if (said := story(world, live)).count("The phrase was said") >= number else None, seconds=60)


@pytest.fixture
def office(asterisk: Asterisk, world: World, tmp_path: Path) -> Office:  # noqa: F811
    return Office(world, asterisk, world.sign_in(), tmp_path)


def test_a_voice_is_enrolled_and_compared_on_another_call(office: Office, call) -> None:  # noqa: ANN001, F811
    """`vanguard_voice` as a whole: consent by a key, a phrase three times, and another day the same voice, and a recording
    of the first. The agent hears nothing of it."""
    maya, first = office.take_call(call)
    assert "voice-enrol" not in office.desk.get(f"/desk/call/{first}/panel").text, "one proof is not enough"
    office.strong(maya, first)
    office.consents(maya, first)
    for n, seed in enumerate([1, 2, 3], start=1):
        tone(maya, n)
        office.listens()
        maya.key(office.take(seed))
        takes(office.world, first, n)
    assert "After the tone, please say" in maya.text
    until("it is kept", lambda: '"type":"voice_enrolled"' in record(office.world))
    assert story(office.world, first).count("The phrase was said: a good take.") == 3
    office.they_talk()
    until("nothing of it is left", lambda: office.ear() == [])
    assert office.desk.act(first, "end").status == 200
    maya.over()

    maya, second = office.take_call(call, (first,))
    words = []
    for n, seed in enumerate([9, 2], start=1):
        assert office.desk.act(second, "voice-compare").status == 200
        tone(maya, n)
        office.listens()
        maya.key(office.take(seed))
        until(f"answer {n} is on record", lambda: len(re.findall(r'"outcome":"\w+"', record(office.world))) == n, seconds=60)
        office.they_talk()
        words += re.findall(r'id="voice">Voice: <b>([^<]*)</b>', office.desk.get(f"/desk/call/{second}/panel").text)
    assert words == ["alike", "not alike"]
    assert re.findall(r'"outcome":"(\w+)"', record(office.world)) == ["alike", "known_recording"]
    # A voice proves nothing.
    assert 'data-level="authenticated"' in office.desk.get(f"/desk/call/{second}/panel").text
    maya.key("")
    maya.over()
    until("every channel is gone", lambda: not office.asterisk.channels() and not office.asterisk.bridges())
    assert office.asterisk.variable("AGENT_HEARD") == "", "no key of hers has reached the agent"
    assert b"CSVT" not in office.world.stored(), "what describes a voice is nowhere but sealed"
    none_of([*PERSONAL, PASSWORD], office.world.said(), "what the server wrote")


def our_port() -> int:
    """Where we take sound at this moment."""
    bound = [int(line.split()[1].split(":")[1], 16) for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    [port] = [port for port in bound if PORTS[0] <= port <= PORTS[1]]
    return port


def speaks_to(port: int, sound: bytes) -> int:
    """RTP from somebody else on this machine, as well-formed as Asterisk's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for n, at in enumerate(range(0, len(sound), 160)):
            stranger.sendto(struct.pack(">BBHII", 0x80, 0, n, n * 160, 77) + sound[at:at + 160], ("127.0.0.1", port))
    return n


def test_nobody_else_is_heard_and_nothing_of_it_is_left(office: Office, call) -> None:  # noqa: ANN001, F811
    """Sound that is not Asterisk's, a recording of the take before, a no, our end in the middle of it, and the
    caller's."""
    maya, live = office.take_call(call)
    office.strong(maya, live)
    office.consents(maya, live)
    # She says nothing, and somebody else says the phrase into our port.
    tone(maya, 1)
    office.listens()
    assert speaks_to(our_port(), (DATA / "rms-0.ul").read_bytes()) > 100
    assert "a good take" not in takes(office.world, live, 1)
    # Now she does, and then the same recording again.
    said = office.take(1)
    for n, good in [(2, 1), (3, 1)]:
        tone(maya, n)
        maya.key(said)
        assert takes(office.world, live, n).count("The phrase was said: a good take.") == good
    # A no, with one key.
    tone(maya, 4)
    maya.key("*")
    until("nobody listens any more", lambda: "Nobody listens any more" in story(office.world, live))
    office.they_talk()
    until("nothing of it is left", lambda: office.ear() == [])

    # We are killed while somebody is listened to: the next life takes that down, and asks anew.
    office.consents(maya, live)
    office.listens()
    before = set(office.ear())
    office.world.server.kill()
    office.world.start()
    until("we are connected", lambda: office.asterisk.applications())
    until("what was left is taken down", lambda: not before & set(office.ear()))
    office.listens()
    # The caller hangs up in the middle of it.
    maya.key("")
    maya.over()
    until("its end is on record", lambda: "The caller hung up" in story(office.world, live))
    until("every channel is gone", lambda: not office.asterisk.channels() and not office.asterisk.bridges())
    none_of([*PERSONAL, "6402", PASSWORD], office.world.said(), "what the server wrote")
