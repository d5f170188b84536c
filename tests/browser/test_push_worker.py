"""The portal's worker: what a device shows when it is woken."""

from __future__ import annotations

from playwright.sync_api import expect

from conftest import Open, portal_of
from helpers import ANA_SECRETS, Demo, none_of, until


def test_a_woken_device_shows_that_something_waits(demo: Demo, open_browser: Open) -> None:
    context = open_browser(demo.url)
    context.grant_permissions(["notifications"], origin=demo.url)
    page = portal_of(context, demo.url, "Ana Torres")
    page.goto(f"{demo.url}/me/security")
    expect(page.locator("#push-toggle")).to_have_text("Wake this device when we ask")
    page.evaluate("navigator.serviceWorker.register('/sw.js', { scope: '/' }).then(() => navigator.serviceWorker.ready).then(() => true)")
    cdp = page.context.new_cdp_session(page)
    registrations: list[dict[str, object]] = []
    cdp.on("ServiceWorker.workerRegistrationUpdated", lambda e: registrations.extend(e["registrations"]))
    cdp.send("ServiceWorker.enable")
    until("the worker is known", lambda: registrations or page.wait_for_timeout(20))
    which = registrations[0]["registrationId"]
    shown = "navigator.serviceWorker.ready.then((r) => r.getNotifications()).then((all) => all.map((n) => [n.title, n.body, n.tag]))"
    for data, tag in [('{"what":"approval","request":"chal_1"}', "chal_1"), ("not JSON at all", "waits")]:
        cdp.send("ServiceWorker.deliverPushMessage", {"origin": demo.url, "registrationId": which, "data": data})
        until(f"{tag} is shown", lambda tag=tag: any(n[2] == tag for n in page.evaluate(shown)) or page.wait_for_timeout(20))
    for title, body, _ in page.evaluate(shown):
        assert title == "Are you on the phone with us?"
        assert "Open this to answer" in body
        none_of([*ANA_SECRETS, "Ana"], title + body, "the notification")
    # Nothing of an account is kept on the device.
    assert page.evaluate("caches.keys()") == []
