"""Waking a customer's device, seen from the push service."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from helpers import ANA_SECRETS, Demo, Http, Phone, none_of, queued, until
from push_world import PushService, sender


@pytest.fixture
def service() -> Iterator[PushService]:
    s = PushService()
    yield s
    s.close()


def portal(demo: Demo, person: str) -> Http:
    http = Http(demo.url)
    assert http.post(f"/demo/sign-in/portal/{person}").status == 303
    return http


def ask_for_approval(demo: Demo) -> Phone:
    phone = queued(demo, "ana", proof="4071")
    robin = demo.sign_in("Robin")
    call = re.findall(r'data-call="(call_[0-9a-f]{32})"', robin.get("/desk/list").text)[0]
    assert robin.act(call, "accept").status == 200
    assert robin.act(call, "prove", factors="approval", action="change:address").status == 200
    return phone


def test_a_device_is_woken(demo: Demo, service: PushService) -> None:
    ana = portal(demo, "ana")
    key = json.loads(ana.get("/me/push/key").text)["key"]
    assert ana.post_json("/me/push/subscribe", service.subscription()).status == 204
    ask_for_approval(demo)
    knock = until("a message", lambda: service.knocks)[0]

    read = service.open(knock)
    assert read["what"] == "approval" and re.fullmatch(r"\w+_[0-9a-f]{32}", str(read["request"])), read
    none_of([*ANA_SECRETS, "Ana", "address"], json.dumps(read), "the message")
    k, claims = sender(knock)
    assert k == key
    assert claims["aud"] == service.origin
    assert 0 < int(str(claims["exp"])) - time.time() <= 24 * 3600
    assert knock.headers["urgency"] == "high" and 0 < int(knock.headers["ttl"]) <= 300
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", knock.headers["topic"])
    assert len(service.knocks) == 1


def test_a_subscription_that_is_gone_is_forgotten(demo: Demo, service: PushService) -> None:
    service.status = 410
    ana = portal(demo, "ana")
    assert ana.post_json("/me/push/subscribe", service.subscription()).status == 204
    assert len(json.loads(ana.get("/me/push/key").text)["devices"]) == 1
    ask_for_approval(demo)
    until("it is forgotten", lambda: json.loads(ana.get("/me/push/key").text)["devices"] == [])


def test_addresses_that_are_no_push_service(shared_demo: Demo, service: PushService) -> None:
    ana = portal(shared_demo, "ana")
    for endpoint in [
        "http://fcm.googleapis.com/x", "https://fcm.googleapis.com.evil.com/x", "https://169.254.169.254/latest", "https://localhost/x", "https://user@fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x", "https://10.0.0.1/x", "https://[::1]/x", "http://10.0.0.1/x", "file:///etc/passwd",
    ]:
        reply = ana.post_json("/me/push/subscribe", service.subscription() | {"endpoint": endpoint})
        assert reply.status == 422, endpoint
    assert json.loads(ana.get("/me/push/key").text)["devices"] == []
