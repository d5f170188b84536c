"""The company's provider asks its customer during a call (OpenID CIBA), with a real provider."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Open, keep_words
from helpers import Http, Stream, until
from openid_world import World, run
from test_sign_in import sign_in
from twilio_world import Caller

MAYA = "+12025550171"


@pytest.fixture
def options() -> dict[str, object]:
    return {}


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, open_browser: Open, options: dict[str, object]) -> Iterator[World]:
    for w in run(tmp_path, **options):
        keep_words(request, w.server)
        # Whoever signed in there once can be asked there.
        sign_in(w, open_browser(None)).wait_for_url(f"{w.public}/me")
        yield w
        Stream.close_all()


def desk(world: World) -> Http:
    http = Http(world.server.url)
    reply = http.post("/desk/sign-in", {"name": "robin", "password": "correct horse battery", "code": world.totp.now()})
    assert reply.status == 303, reply
    return http


def ring(world: World) -> Caller:
    """Maya calls; her strongest factor is the provider."""
    caller = Caller(world.server.url, world.public, MAYA)
    asked = caller.arrive()
    for _ in range(3):
        if world.provider.tell("/state")["asked"]:
            return caller
        if "Gather" not in asked.verbs:
            break
        asked = caller.key("2") if "We know the number" in asked.words else asked
        try:
            world.provider.asked()
            return caller
        except AssertionError:
            asked = caller.key("*")
    raise AssertionError(f"the provider is not asked: {asked.text}")


def story(world: World, caller: Caller) -> str:
    """What the record says about the call so far."""
    export = world.installation.run("audit", "export")
    return export.stdout


def told(world: World, caller: Caller, seen: int = 0) -> str:
    """The words that the telephone is moved to."""
    form = world.twilio.next(f"Calls/{caller.sid}.json", seen)
    if "Url" in form:
        return caller.moved(form["Url"]).words
    return str(form.get("Twiml", ""))


def test_approved(world: World) -> None:
    caller = ring(world)
    question = world.provider.asked()
    assert question["account"] == question["hint"] == "u20008811"
    assert re.fullmatch(r"\d{6}", question["message"]), question
    spoken = re.sub(r"\D", "", caller.now.text if caller.now else "")
    assert question["message"] in spoken, "the caller hears the code that the device shows"
    world.provider.tell("/approve", id=question["id"], account="u20008811", acr="strong")
    assert "accepted" in told(world, caller)
    assert '"proved"' in (log := story(world, caller)) and '"provider"' in log
    assert world.provider.moods()["requests"] == 1
    none = [question["message"], question["id"], "u20008811"]
    assert not any(value in log for value in none)


def test_denied(world: World) -> None:
    caller = ring(world)
    world.provider.tell("/deny", id=world.provider.asked()["id"])
    until("the call goes on without it", lambda: '"declined"' in story(world, caller))
    assert '"proved"' not in story(world, caller)
    assert told(world, caller)


def test_a_token_for_another_subject(world: World) -> None:
    world.provider.moods(impostor="u20008812")
    caller = ring(world)
    question = world.provider.asked()
    world.provider.tell("/approve", id=question["id"], account="u20008812")
    until("it does not count", lambda: '"challenge_failed"' in story(world, caller))
    assert '"proved"' not in story(world, caller)


def test_an_expired_question(world: World) -> None:
    world.provider.moods(expiresIn=3)
    caller = ring(world)
    until("the call goes on without it", lambda: '"declined"' in story(world, caller), seconds=30)
    assert '"proved"' not in story(world, caller)


def test_slow_down_is_heeded(world: World) -> None:
    world.provider.moods(slow=1)
    caller = ring(world)
    question = world.provider.asked()
    until("it was told to slow down", lambda: world.provider.moods()["slow"] == 0, seconds=30)
    polls = world.provider.moods()["polls"]
    world.provider.tell("/approve", id=question["id"], account="u20008811")
    assert "accepted" in told(world, caller)
    assert world.provider.moods()["polls"] == polls + 1


def test_a_restart_loses_no_answer(world: World) -> None:
    caller = ring(world)
    question = world.provider.asked()
    polls = world.provider.moods()["polls"]
    until("the question is on record: it is looked after", lambda: world.provider.moods()["polls"] > polls, seconds=30)
    world.server.kill()
    world.provider.tell("/approve", id=question["id"], account="u20008811")
    world.start()
    caller.address = world.server.url
    until("the proof is there", lambda: '"proved"' in story(world, caller), seconds=30)
    assert world.provider.moods()["requests"] == 1


def test_a_customer_whom_the_provider_does_not_know(world: World) -> None:
    world.provider.moods(unknown=True)
    caller = Caller(world.server.url, world.public, MAYA)
    caller.arrive()
    caller.key("2")
    until("the call goes on without it", lambda: '"declined"' in story(world, caller))


class TestNotAsked:
    """The provider signs customers in, and is not asked on calls."""

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"ask": False}

    def test_a_sign_in_is_no_factor_on_the_phone(self, world: World) -> None:
        caller = Caller(world.server.url, world.public, MAYA)
        caller.arrive()
        asked = caller.key("2")
        assert "website" not in asked.words.lower(), asked.words
        assert '"kind":"provider"' not in (log := story(world, caller)) and '"challenged"' in log
        assert world.provider.moods()["requests"] == 0


class TestAssurance:
    """The provider has to be surer than it is."""

    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"more": 'acr_values = "strong"'}

    def test_less_than_was_asked_for(self, world: World) -> None:
        caller = ring(world)
        question = world.provider.asked()
        assert question["acr"] == "strong"
        world.provider.tell("/approve", id=question["id"], account="u20008811", acr="weak")
        until("it does not count", lambda: '"challenge_failed"' in story(world, caller))
        assert '"proved"' not in story(world, caller)
