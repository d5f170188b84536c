"""Fixtures: the demo, a real browser whose complaints count, and what is kept when a test fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Playwright, Request, expect, sync_playwright

from helpers import Demo, Program, Stream, until

# Most of these silence what Chromium would do on the network by itself; the sandbox does not work for root.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--mute-audio",
]
PATIENCE = 20_000

expect.set_options(timeout=PATIENCE)


def chromium() -> str | None:
    names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    return os.environ.get("COUNTERSIGN_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as p:
        yield p


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = chromium()
    if path is None:
        needed = os.environ.get("CI") == "true" or os.environ.get("COUNTERSIGN_REQUIRE_BROWSER") == "1"
        (pytest.fail if needed else pytest.skip)("Chromium is not installed: `cargo xtask test` installs it on Debian")
    b = playwright.chromium.launch(executable_path=path, args=FLAGS)
    yield b
    b.close()


# ── The program under test ─────────────────────────────────────────────────────────────────────

class Speaks(Protocol):
    """Whatever keeps what it said."""

    def said(self) -> str: ...


PROGRAMS = pytest.StashKey[list[Speaks]]()


def pytest_sessionfinish() -> None:
    """What a failed test has left running."""
    for program in Program.all:
        if program.process.poll() is None:
            program.kill()


@pytest.fixture(autouse=True)
def streams() -> Iterator[None]:
    yield
    Stream.close_all()


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Demo]:
    """A demo of its own for one test."""
    yield from run_demo(request, tmp_path / "demo")


@pytest.fixture(scope="module")
def shared_demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests of a file that only look."""
    yield from run_demo(request, tmp_path_factory.mktemp("demo"))


def run_demo(request: pytest.FixtureRequest, folder: Path) -> Iterator[Demo]:
    d = Demo(folder)
    keep_words(request, d)
    yield d
    Stream.close_all()  # or it waits a little for those who listen
    d.stop()
    assert d.process.returncode == 0, f"the demo ended with {d.process.returncode}\n{d.said()}"
    assert not list(d.scratch.iterdir()), "the demo left something in its temporary folder"


def keep_words(request: pytest.FixtureRequest, program: Speaks) -> None:
    """What the program says is shown if a test fails."""
    request.node.stash.setdefault(PROGRAMS, []).append(program)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        for node in item.listchain():
            for program in node.stash.get(PROGRAMS, []):
                report.sections.append(("what the program said", program.said()[-6000:]))
        save_screens(item)
    return report


# ── The browser ────────────────────────────────────────────────────────────────────────────────

CONTEXTS = pytest.StashKey[list[BrowserContext]]()


class Complaints:
    """What a browser finds wrong with pages: errors, blocked content, requests to strangers."""

    def __init__(self, origin: str) -> None:
        self.origin, self.list = origin, list[str]()
        self.expected: list[str] = []

    def hear(self, context: BrowserContext) -> None:
        context.on("console", self.console)
        context.on("weberror", lambda e: self.list.append(f"exception: {e.error}"))
        context.on("request", self.request)

    def console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(e in message.text for e in self.expected):
            self.list.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.list.append(f"request to a third party: {request.url}")

    def check(self) -> None:
        assert not self.list, "\n".join(self.list)


Open = Callable[..., BrowserContext]


@pytest.fixture
def open_browser(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Open]:
    """Opens browsers that know nothing of each other. Their complaints fail the test in the end."""
    contexts: list[tuple[BrowserContext, Complaints | None]] = []

    def open_context(origin: str | None, **options: object) -> BrowserContext:
        context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}, "locale": "en-US"} | options))
        context.set_default_timeout(PATIENCE)
        complaints = Complaints(origin) if origin else None
        if complaints:
            complaints.hear(context)
        context.complaints = complaints
        contexts.append((context, complaints))
        request.node.stash.setdefault(CONTEXTS, []).append(context)
        return context

    yield open_context
    for context, _ in contexts:
        context.close()
    for _, complaints in contexts:
        if complaints:
            complaints.check()


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures for people go."""
    named = os.environ.get("COUNTERSIGN_SHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def screenshot(page: Page, path: Path) -> None:
    """A picture of the whole page. Playwright would hide carets by inline styles, which the pages'
    own policy for content then complains of."""
    page.screenshot(path=path, full_page=True, caret="initial")


def portal_of(context: BrowserContext, url: str, person: str) -> Page:
    """The portal, signed in by one click as the demo offers."""
    start = context.new_page()
    start.goto(url)
    with context.expect_page() as opened:
        start.get_by_role("button", name=person).click()
    start.close()
    page = opened.value
    page.wait_for_url("**/me")
    return page


def save_screens(item: pytest.Item) -> None:
    """What was on every screen when a test failed, if somebody named a folder for pictures."""
    folder = os.environ.get("COUNTERSIGN_SHOTS")
    pages = [page for context in item.stash.get(CONTEXTS, []) for page in context.pages if not page.is_closed()]
    for i, page in enumerate(pages if folder else []):
        Path(folder or "").mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder or "") / f"failed-{item.name}-{i}.png", timeout=5_000)


# ── Pages ──────────────────────────────────────────────────────────────────────────────────────


class Handset:
    """The telephone in the page, used as a person would."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.goto(f"{url}/handset")
        self.log = self.page.get_by_role("list", name="What is said")
        self.messages = self.page.get_by_role("list", name="Messages")
        self.phone = self.page.locator("#phone")
        # Speech takes its time, and a machine has no loudspeaker.
        self.page.get_by_label("Voice").uncheck()
        self.page.get_by_label("Tones and music").uncheck()

    def dial(self, who: str) -> None:
        self.page.get_by_role("radio", name=who).check()
        self.page.get_by_role("button", name="Call", exact=True).click()

    def hears(self, *texts: str) -> None:
        """The last words hold these."""
        for text in texts:
            expect(self.log.locator(".said", has_text=text).last).to_be_visible()

    def asked(self, text: str) -> None:
        """The voice said this, and keys are wanted."""
        self.hears(text)
        expect(self.phone).to_have_attribute("data-state", "asked")

    def press(self, keys: str) -> None:
        for key in keys:
            self.page.locator(f'.pad [data-key="{key}"]').click()

    def type(self, keys: str) -> None:
        for key in keys:
            self.page.keyboard.press("#" if key == "#" else key)

    def is_talking(self) -> None:
        expect(self.phone).to_have_attribute("data-state", "talking")

    def texted_code(self) -> str:
        code = self.messages.locator(".message-code").first
        expect(code).to_be_visible()
        digits = "".join(c for c in code.inner_text() if c.isdigit())
        assert len(digits) == 6, digits
        return digits


# Everything that was ever on the page, also what is gone again before anybody looks.
EVERYTHING_SHOWN = """
{
  window.__shown = [];
  const note = (node) => window.__shown.push(node.nodeType === Node.ELEMENT_NODE ? node.outerHTML : (node.nodeValue ?? ""));
  new MutationObserver((records) => {
    for (const record of records) {
      if (record.type === "attributes") window.__shown.push(record.target.getAttribute(record.attributeName) ?? "");
      else if (record.type === "characterData") note(record.target);
      else record.addedNodes.forEach(note);
    }
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
}
"""


class Desk:
    """The desk in the page."""

    def __init__(self, context: BrowserContext, url: str, agent: str = "Robin") -> None:
        context.add_init_script(EVERYTHING_SHOWN)
        start = context.new_page()
        start.goto(url)
        with context.expect_page() as opened:
            start.get_by_role("button", name=agent).click()
        self.page: Page = opened.value
        start.close()
        self.page.wait_for_url("**/desk")
        # In a window that was just opened, the observer still watches the empty page before this one.
        self.page.reload()
        expect(self.page.get_by_role("heading", name="Waiting")).to_be_visible()
        expect(self.page.locator("#live")).to_have_text("Live")
        self.call = self.page.locator("#call")

    def level(self, level: str) -> None:
        expect(self.call).to_have_attribute("data-level", level)

    def settled(self) -> None:
        """Nothing is under way, and what came has its final attributes: nobody is quicker than that."""
        # Asked from outside again and again: a function that waits in the page is evaluated anew
        # there, which the page's own policy for content forbids.
        until("the desk is settled", lambda: self.page.evaluate("!document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling, .htmx-added')"))

    def action(self, name: str) -> Locator:
        return self.page.locator(f'.action[data-action="{name}"]')

    def shown(self) -> str:
        """All that was ever on the page since it was loaded, and all that is there now."""
        return "\n".join(self.page.evaluate("window.__shown")) + self.page.content()
