"""Whole calls through Twilio against `countersign serve`, with a record on disk that survives
what servers live through."""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twilio.request_validator import RequestValidator

from conftest import keep_words
from helpers import Http, Stream, none_of, until
from installation import AGENT_PHONE, PERSONAL, PUBLIC, World
from twilio_world import TOKEN, Caller, Twiml

MAYA, TOMASZ = "+12025550171", "+12025550172"
CALL = re.compile(r'data-call="(call_[0-9a-f]{32})"')


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path / "world")
    keep_words(request, w.server)
    yield w
    Stream.close_all()
    w.close()


def waiting(desk: Http) -> str:
    """The call that waits."""
    found = CALL.findall(desk.get("/desk/list").text)
    assert len(found) == 1, found
    return found[0]


def panel(desk: Http, call: str) -> str:
    reply = desk.get(f"/desk/call/{call}/panel")
    assert reply.status == 200, reply
    return reply.text


def level(desk: Http, call: str) -> str:
    return panel(desk, call).split('data-level="')[1].split('"')[0]


def to_the_pin(caller: Caller) -> Twiml:
    """Maya has a mobile and a PIN: codes are offered first, and the star is another way."""
    asked = caller.arrive()
    for _ in range(3):
        if "Please enter your PIN" in asked.words:
            return asked
        asked = caller.key("*")
    raise AssertionError(f"no PIN is asked for: {asked.words}")


def into_the_queue(caller: Caller) -> None:
    to_the_pin(caller)
    caller.key("6402")
    caller.key("2")


def code_in(text: str) -> str:
    found = re.search(r"[Kk]ey in code (\d{6})\.", text)
    assert found, text
    return found[1]


def test_a_whole_call(world: World) -> None:
    """From the greeting to the record: PIN, music, agent, texted code, change, undo."""
    twilio, caller = world.twilio, world.server.call(MAYA)

    greeting = caller.arrive()
    assert greeting.verbs == ["Gather"]
    assert "Welcome to Hearth & Home." in greeting.words and "We know the number" in greeting.words
    gather = greeting.one("Gather").attrib
    assert (gather["input"], gather["finishOnKey"], gather["method"], gather["actionOnEmptyResult"]) == ("dtmf", "#", "POST", "true")
    none_of(PERSONAL, greeting.text, "the greeting")
    # A text is on its way, and she would rather key her PIN.
    assert "We have just texted a code" in greeting.words
    unused = code_in(twilio.next("Messages.json")["Body"])
    assert "We are ringing the number on file" in caller.key("*").words
    ring = twilio.next("Calls.json")
    assert ring["To"] == MAYA
    read_out = Twiml(ring["Twiml"])
    assert re.search(r"Here is your code: \d(, \d){5}\.", read_out.words), read_out.words
    assert "Please enter your PIN" in caller.key("*").words

    music = caller.key("6402")
    assert "that was accepted" in music.words and "For calm music" in music.words
    hold = caller.key("2")
    assert hold.verbs == ["Gather", "Redirect"]
    assert (hold.one("Play").text or "").endswith("lively.wav")
    # Twilio comes back when the music is over, and the caller waits on.
    assert caller.moved(hold.one("Redirect").text or "").verbs == ["Gather", "Redirect"]

    desk = world.sign_in()
    call = waiting(desk)
    assert desk.act(call, "accept").status == 200
    assert level(desk, call) == "authenticated"
    connected = caller.moved(twilio.next(f"Calls/{caller.sid}.json")["Url"])
    assert connected.verbs[-1] == "Dial" and "connected" in connected.words
    conference = connected.one("Conference")
    assert conference.text and conference.text.startswith(call) and conference.attrib["waitUrl"] == ""

    # The agent's telephone rings, and whoever answers is in the same conference.
    ring = twilio.next("Calls.json", seen=1)
    assert ring["To"] == AGENT_PHONE
    agent = world.server.call(AGENT_PHONE)
    agent.status = "in-progress"
    assert agent.moved(ring["Url"]).one("Conference").text == conference.text

    # More than a PIN: a code goes to the number on file, and is keyed outside of the conference.
    asked = desk.act(call, "request", action="change:address")
    assert "Needs strong" in asked.text
    moves = len(twilio.asked(f"Calls/{caller.sid}.json"))
    assert "challenge" in desk.act(call, "prove", action="change:address", factors="sms_code").text
    # Twilio is slower than the text: what is said must not depend on which comes first.
    until("the desk hears that it went", lambda: "Sent to the number on file." in panel(desk, call))
    step_up = caller.moved(twilio.next(f"Calls/{caller.sid}.json", moves)["Url"])
    assert step_up.verbs == ["Gather"] and "The agent cannot hear your keys" in step_up.words
    text = twilio.next("Messages.json", seen=1)
    assert text["To"] == MAYA and len(text["Body"]) <= 160
    for words in ["Hearth & Home", "change your address", "We never ask you to say it", "+1 202 555 0100"]:
        assert words in text["Body"], text["Body"]
    assert report(caller, text["StatusCallback"], "delivered") == 204
    assert "Arrived at the number on file." in panel(desk, call)
    code = code_in(text["Body"])
    none_of([code], panel(desk, call), "the desk")
    if unused != code:
        assert "That was not accepted" in caller.key(unused).words, "the code that was not used is no good here"
    back = caller.key(code)
    assert back.verbs[-1] == "Dial" and "going back to your agent" in back.words
    assert level(desk, call) == "strong"

    # The change is made, and told where she was reached before.
    changed = desk.act(call, "perform", action="change:address", address="9 Cedar Court, Riverton", postal_code="84065")
    assert "Done." in changed.text
    notice = until("the notice", lambda: [m for m in twilio.texts(MAYA) if "postal address on your account was changed" in m["Body"]])[0]
    link = re.search(rf"{PUBLIC}(/undo/\S+)", notice["Body"])
    assert link, notice["Body"]
    assert "Cedar" not in notice["Body"]
    customer = Http(world.server.url)
    assert "Undo the change" in customer.get(link[1]).text
    assert "as it was before" in customer.post(link[1]).text
    assert customer.post(link[1]).status == 422, "once only"

    assert caller.completed() == 204
    assert "The call is over" in panel(desk, call) or desk.get(f"/desk/call/{call}").status == 404
    told = world.mail.next("maya.lindqvist@example.com", "The postal address on your account was changed")
    assert link[0] in told and "Cedar" not in told
    summary = world.mail.next("maya.lindqvist@example.com", "Your call with Hearth & Home")
    assert f"{PUBLIC}/not-me/" in summary and "The postal address on your account was changed" in summary
    assert caller.completed() == 204, "a repeated report changes nothing"

    # A call that is over says so, and nothing else.
    assert caller.send(caller.local(step_up.one("Gather").attrib["action"]), caller.form(Digits="1")).status in (200, 409)
    the_record_tells(world, call, [code, unused, "9 Cedar Court", "84065"])


def report(caller: Caller, url: str, status: str) -> int:
    """Twilio tells how a text fared."""
    return caller.send(caller.local(url), {"AccountSid": caller.form()["AccountSid"], "MessageSid": "SM" + "1" * 32, "MessageStatus": status}).status


def the_record_tells(world: World, call: str, secrets: list[str]) -> None:
    """`audit show` and `audit export`, while the server runs."""
    shown = world.installation.run("audit", "show", call)
    assert shown.returncode == 0, shown.stderr
    story = [
        "The call came in through twilio with a number (signed, attestation A).", "Claim: number, signalled by the network; fits one account.",
        "Proved: PIN.", "The caller chose lively music.", "took the call.", "asked about change:address at authenticated: needs strong",
        "Asked for texted code for change:address", "sent.", "delivered.", "Proved: texted code.", "Assurance: strong", "carried out change:address",
        "The caller hung up.", "A summary of change:address went to the contact on file.",
    ]
    at = 0
    for sentence in story[:-2]:
        found = shown.stdout.find(sentence, at)
        assert found >= 0, f"{sentence!r} comes in its turn in\n{shown.stdout}"
        at = found
    for sentence in story[-2:]:
        assert sentence in shown.stdout[at:], sentence
    exported = world.installation.run("audit", "export")
    assert exported.returncode == 0, exported.stderr
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines}), "in order, none twice"
    ours = [line for line in lines if line["stream"] == f"call/{call.removeprefix('call_')}"]
    assert [line["event"]["n"] for line in ours] == list(range(1, len(ours) + 1)), "no event is missing"
    assert len(ours) == len(re.findall(r"^\s*\d+\s+[\d.]+s ", shown.stdout, re.MULTILINE))
    for name, text in [("audit show", shown.stdout), ("audit export", exported.stdout)]:
        none_of(PERSONAL + secrets, text, name)
    none_of(PERSONAL + secrets, world.said(), "the log")
    stored = world.stored()
    # What is shorter is there by chance.
    for secret in [s for s in PERSONAL + secrets if len(s) > 6]:
        assert secret.encode() not in stored, f"{secret} is on the disk in clear"


def test_repeated_and_forged_webhooks(world: World) -> None:
    """Twilio's signature has no time in it: a repeat gets the same answer and does nothing, and
    what is not signed for this very address and form gets nothing."""
    caller = world.server.call(MAYA)
    form = caller.form()
    first = caller.send("/twilio/voice", form)
    assert caller.send("/twilio/voice", form).body == first.body
    caller.take(first)
    caller.status = "in-progress"
    while "Please enter your PIN" not in caller.now.words:
        caller.key("*")
    action, keyed = caller.action, caller.form(Digits="6402", FinishedOnKey="#")
    accepted = caller.send(action, keyed)
    assert "that was accepted" in Twiml(accepted.text).words
    for _ in range(3):
        assert caller.send(action, keyed).body == accepted.body
    # The same step with other keys is the same step.
    assert caller.send(action, caller.form(Digits="9999")).body == accepted.body
    caller.take(accepted)

    right = RequestValidator(TOKEN)
    good = caller.form(Digits="2")
    action = caller.action
    forged = {
        "none": "", "nonsense": "AAAA", "another token": RequestValidator("0" * 32).compute_signature(PUBLIC + action, good),
        "another address": right.compute_signature(f"{PUBLIC}/twilio/voice", good),
        "another host": right.compute_signature(f"https://calls.example.org{action}", good),
        "another form": right.compute_signature(PUBLIC + action, good | {"Digits": "3"}),
    }
    for name, signature in forged.items():
        reply = caller.send(action, good, signature)
        assert reply.status == 403, name
        none_of([TOKEN, *PERSONAL], reply.text, name)
    moved = Http(world.server.url).request("GET", "/twilio/voice")
    assert moved.status == 405
    # A parameter twice: one reader might believe the first, another the second.
    twice = Http(world.server.url).request(
        "POST", "/twilio/voice", b"CallSid=" + caller.sid.encode() + b"&CallSid=CA" + b"0" * 32,
        {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": "AAAA"},
    )
    assert twice.status == 400
    # After all that the call is where it was.
    hold = caller.key("2")
    assert "lively" in (hold.one("Play").text or "")
    metrics = Http(world.server.url).get("/metrics").text
    assert re.search(r'countersign\w*\{[^}]*signature[^}]*\} 6', metrics), metrics
    assert {r.path for r in world.twilio.requests} <= {"Messages.json", "Calls.json"} and world.twilio.strangers == 0


def test_their_own_second_factor_is_honoured(world: World) -> None:
    """`amazon_honours_totp`: who set up an app is asked for the app, in their language, and a text
    does not stand in for it; a code counts once."""
    import pyotp

    app = pyotp.TOTP("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    caller = world.server.call(TOMASZ)
    greeting = caller.arrive()
    assert {say.attrib["language"] for say in greeting.root.iter("Say")} == {"de-DE"}
    assert "App" in greeting.words, greeting.words
    wrong = f"{(int(app.now()) + 1) % 1_000_000:06d}"
    again = caller.key(wrong)
    assert again.verbs == ["Gather"]
    code = fresh_code(app)
    caller.key(code)
    caller.key("1")
    desk = world.sign_in()
    call = waiting(desk)
    shown = desk.act(call, "accept").text
    assert level(desk, call) == "authenticated"
    plans = re.findall(r'name="factors" value="([^"]+)"', shown)
    assert plans and not any("sms" in p or "voice" in p for p in plans), plans
    refused = desk.act(call, "prove", action="change:address", factors="sms_code")
    assert "challenge-top" not in refused.text
    assert world.twilio.texts(TOMASZ) == []
    # The PIN completes it, and no text was ever sent.
    desk.act(call, "prove", action="change:address", factors="pin")
    moves = world.twilio.asked(f"Calls/{caller.sid}.json")
    until("the call is asked for the PIN", lambda: len(world.twilio.asked(f"Calls/{caller.sid}.json")) >= max(2, len(moves)))
    caller.moved(world.twilio.asked(f"Calls/{caller.sid}.json")[-1]["Url"])
    caller.key("8153")
    assert level(desk, call) == "strong"
    assert world.twilio.texts(TOMASZ) == []

    # The same code on another call is no proof any more.
    other = world.server.call(TOMASZ)
    other.arrive()
    assert "Gather" in other.key(code).verbs
    assert other.action != "", "it is asked again"
    exported = world.installation.run("audit", "export").stdout
    assert exported.count('"proved"') == 2, "app and PIN of the first call, nothing else"


def fresh_code(app) -> str:  # noqa: ANN001
    """A code with enough of its time left to be keyed."""
    until("a code with some seconds left", lambda: time.time() % 30 < 27, seconds=5)
    return app.now()


def test_a_call_survives_a_crash(world: World) -> None:
    """The server is killed between the text with the code and the keys: after the next start the
    call, the agent's session and the code are what they were."""
    twilio, caller = world.twilio, world.server.call(MAYA)
    into_the_queue(caller)
    desk = world.sign_in()
    call = waiting(desk)
    desk.act(call, "accept")
    desk.act(call, "prove", action="change:address", factors="sms_code")
    # The code of the greeting may have been overtaken by the star before it was sent.
    text = until("the text", lambda: [m for m in twilio.texts(MAYA) if "change your address" in m["Body"]])[0]
    until("the text is on record as sent", lambda: "Sent to the number on file." in panel(desk, call))
    before = world.installation.run("audit", "export").stdout.splitlines()

    world.server.kill()
    server = world.start()
    world.moved_to_server(desk, caller)
    assert server.fields["calls"] == 1, "the call was picked up"
    after = world.installation.run("audit", "export").stdout.splitlines()
    assert after[: len(before)] == before, "the record has lost nothing"
    assert level(desk, call) == "authenticated"
    # Twilio asks again where it was: a repeat of what was answered before the crash, and what comes next.
    caller.moved(f"{PUBLIC}/twilio/resume?n=0")
    back = caller.key(code_in(text["Body"]))
    assert back.verbs[-1] == "Dial"
    assert level(desk, call) == "strong"
    assert "Done." in desk.act(call, "perform", action="change:address", address="9 Cedar Court", postal_code="84065").text
    until("the notice", lambda: [m for m in twilio.texts(MAYA) if "was changed" in m["Body"]])
    codes = [m["Body"] for m in twilio.texts(MAYA) if "ey in code" in m["Body"]]
    assert len(codes) == len(set(codes)), "each code was sent once"
    assert caller.completed() == 204


def test_a_commit_survives_a_crash_at_any_moment(world: World) -> None:
    """What was answered is on record, however soon after the answer the power goes."""
    caller = world.server.call(MAYA)
    to_the_pin(caller)
    for keys, sentence in [("6402", "Proved: PIN."), ("3", "The caller chose classical music.")]:
        action, form = caller.action, caller.form(Digits=keys, FinishedOnKey="#")
        answer = caller.send(action, form)
        world.server.kill()
        world.start()
        world.moved_to_server(caller)
        # Twilio did not get the answer and asks again: it is the same one.
        assert caller.send(action, form).body == answer.body, keys
        caller.take(answer)
        desk = world.installation.run("audit", "export").stdout
        call = re.search(r'"stream":"call/([0-9a-f]{32})"', desk)
        assert call
        shown = world.installation.run("audit", "show", f"call_{call[1]}").stdout
        assert shown.count(sentence) == 1, shown


def test_the_music_can_be_played(world: World) -> None:
    """`apple_hold_music`: every choice is a sound that Twilio can fetch, or silence."""
    caller = world.server.call(MAYA)
    into_the_queue(caller)
    for key, name in [("1", "calm"), ("2", "lively"), ("3", "classical")]:
        play = caller.key(key).one("Play")
        assert play.text == f"{PUBLIC}/assets/music/{name}.wav"
        music = Http(world.server.url).get(caller.local(play.text))
        assert (music.status, music.headers["content-type"]) == (200, "audio/wav"), f"{play.text}: {music.status}"
        seconds = length_of_wav(music.body)
        assert seconds >= 5 and len(music.body) < 1 << 20, f"{name}: {seconds} s, {len(music.body)} bytes"
    assert list(caller.key("4").root.iter("Play")) == []


def length_of_wav(body: bytes) -> float:
    """The seconds of a sound in a format that Twilio takes: PCM or, as on the telephone itself, µ-law."""
    riff, size, kind, form, _, tag, channels, _, rate = struct.unpack("<4sI4s4sIHHII", body[:32])
    assert (riff, size + 8, kind, form) == (b"RIFF", len(body), b"WAVE", b"fmt ")
    assert tag in (1, 7) and channels == 1
    data = body.index(b"data")
    return struct.unpack("<I", body[data + 4:data + 8])[0] / rate


def test_a_planned_stop_is_quick_and_loses_nothing(world: World) -> None:
    """SIGTERM with a call on hold and a desk that listens."""
    caller = world.server.call(MAYA)
    into_the_queue(caller)
    desk = world.sign_in()
    call = waiting(desk)
    stream = Stream(desk, "/desk/events")
    before = world.installation.run("audit", "export").stdout
    took = world.server.stop()
    assert took < 8, f"it took {took:.1f} s"
    assert world.server.process.returncode == 0, world.server.said()
    assert stream.ended.wait(5), "whoever listened was let go"
    assert world.installation.run("audit", "export").stdout.startswith(before)

    world.start()
    world.moved_to_server(desk, caller)
    assert waiting(desk) == call
    changed = caller.key("3")
    assert "classical" in (changed.one("Play").text or "")
    assert desk.act(call, "accept").status == 200
    assert level(desk, call) == "authenticated"


def test_sign_in_tells_nothing(world: World) -> None:
    """A wrong name, a wrong password and a wrong code get one answer; after five, the right ones
    get it too. A code signs in once."""
    desk = Http(world.server.url)
    good = {"name": "robin", "password": "correct horse battery"}
    for path in ["/desk", "/desk/list", "/desk/events", "/admin", "/admin/policy"]:
        assert desk.get(path).location == "/desk/sign-in", path
    page = desk.get("/desk/sign-in")
    assert page.status == 200 and 'autocomplete="one-time-code"' in page.text
    code = fresh_code(world.totp)
    answers = set()
    for form in [good | {"name": "nobody"}, good | {"password": "wrong horse battery"}, good | {"code": "000000"}]:
        reply = desk.post("/desk/sign-in", {"code": code} | form)
        assert reply.status == 422 and "set-cookie" not in reply.headers, reply
        answers.add(reply.text)
    assert len(answers) == 1
    assert desk.post("/desk/sign-in", good | {"code": code}).status == 303
    assert Http(world.server.url).post("/desk/sign-in", good | {"code": code}).status == 422, "a code counts once"
    for _ in range(6):
        desk.post("/desk/sign-in", {"name": "nobody", "password": "wrong horse battery", "code": "000000"})
    assert desk.get("/demo/sign-in/desk/robin").status == 404 and desk.post("/demo/sign-in/desk/robin").status == 404
    for path in ["/", "/handset"]:
        assert desk.get(path).status == 404, f"{path} belongs to the demo"
