"""What axe-core finds wrong with pages, in light and dark, wide and narrow: nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from conftest import Desk, Handset, Open, portal_of
from helpers import Demo

# WCAG 2.2 AA, and what axe calls best practice.
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
LOOKS = [
    {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
]


@pytest.fixture(scope="session")
def axe() -> str:
    folder = os.environ.get("COUNTERSIGN_NODE_PACKAGES")
    if not folder:
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)("COUNTERSIGN_NODE_PACKAGES is not set: run `cargo xtask test --only browser`")
    return (Path(folder or "") / "node_modules/axe-core/axe.min.js").read_text()


def faults(page: Page, axe: str) -> list[str]:
    # Evaluated, not added as a script: the pages' own policy for content lets none in.
    page.evaluate(axe)
    found = page.evaluate("async rules => (await axe.run(document, rules)).violations", RULES)
    return [f"{v['id']} ({v['impact']}): {v['help']}: {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found]


def check(page: Page, axe: str) -> None:
    found = faults(page, axe)
    assert not found, f"{page.url}\n" + "\n".join(found)


@pytest.mark.parametrize("look", LOOKS, ids=["phone-light", "desktop-dark"])
def test_pages_are_accessible(demo: Demo, open_browser: Open, axe: str, look: dict[str, object]) -> None:
    """Every page that a customer or agent works with, while something goes on."""
    # Colours change without a slide, so that what is measured is what is seen.
    context = open_browser(demo.url, reduced_motion="reduce", **look)
    handset, desk = Handset(open_browser(demo.url), demo.url), Desk(open_browser(demo.url, reduced_motion="reduce", **look), demo.url)
    portal = portal_of(context, demo.url, "Ana Torres")
    check(portal, axe)
    handset.dial("Ana Torres")
    handset.asked("We know the number")
    handset.press("2")
    handset.asked("PIN")
    handset.press("4071#")
    handset.asked("Please choose what you hear")
    handset.press("4")
    desk.page.locator(".row").get_by_role("button", name="Take").click()
    desk.level("authenticated")
    desk.page.locator("#prove-approval").click()
    expect(portal.locator("[data-ask]")).to_be_visible()
    check(portal, axe)
    desk.settled()
    check(desk.page, axe)
    for path in ["/", "/handset", "/me/code", "/me/security", "/me/sign-in", "/desk/sign-in", "/nowhere"]:
        page = context.new_page()
        page.goto(f"{demo.url}{path}")
        check(page, axe)
        page.close()
    context.complaints.list = [c for c in context.complaints.list if "404" not in c]


@pytest.mark.parametrize("look", LOOKS, ids=["phone-light", "desktop-dark"])
def test_the_leads_pages_are_accessible(demo: Demo, open_browser: Open, axe: str, look: dict[str, object]) -> None:
    """Risk, and the record of a call with its forms."""
    handset = Handset(open_browser(demo.url), demo.url)
    handset.dial("Ana Torres")
    handset.asked("We know the number")
    context = open_browser(demo.url, reduced_motion="reduce", **look)
    assert context.request.post(f"{demo.url}/demo/sign-in/admin", headers={"Origin": demo.url}).ok
    page = context.new_page()
    page.goto(f"{demo.url}/admin/risk")
    check(page, axe)
    page.goto(f"{demo.url}/admin")
    page.locator("a[href^='/admin/calls/']").first.click()
    expect(page.get_by_role("button", name="Mark as fraud")).to_be_visible()
    check(page, axe)
