"""Every page: no complaint of the browser, nothing from strangers, room on a small screen, names for
everything that can be filled in. Pictures for people go to the folder in COUNTERSIGN_SHOTS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from conftest import Desk, Open, screenshot
from helpers import Demo, Http, queued, until

SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1440, "height": 900}}


@dataclass
class Stage:
    """A demo in which something is going on, and who looks at it."""

    demo: Demo
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def stage(shared_demo: Demo) -> Stage:
    """Calls in every state: waiting, identified, with a proof under way, strong, ended."""
    demo = shared_demo
    s = Stage(demo)
    robin, sam, kim = demo.sign_in("Robin"), demo.sign_in("Sam"), demo.lead()
    ana, jonas = Http(demo.url), Http(demo.url)
    assert ana.post("/demo/sign-in/portal/ana").status == 303
    assert jonas.post("/demo/sign-in/portal/jonas").status == 303
    assert jonas.post("/me/freeze").status == 303

    # One call that went all the way and is over: it fills the portal and the record.
    past = queued(demo, "ana", "4071")
    robin.act(past.call, "accept")
    robin.act(past.call, "request", action="change:password")
    robin.act(past.call, "end")
    s.calls["past"] = past.call

    # One that is being proved, with details that fit and details that do not.
    busy = queued(demo, "ana", "4071")
    robin.act(busy.call, "accept")
    for what, value in [("postal_code", "20500"), ("date_of_birth", "1984-03-09"), ("email", "ana@example.com")]:
        robin.act(busy.call, "heard", what=what, value=value)
    robin.act(busy.call, "request", action="change:address")
    robin.act(busy.call, "prove", action="change:address", factors="sms_code")
    s.calls["busy"] = busy.call

    # A stranger with a specialist, and two who wait.
    stranger = queued(demo, None)
    sam.act(stranger.call, "accept")
    s.calls["stranger"] = stranger.call
    waiting = queued(demo, None)
    s.calls["waiting"] = waiting.call
    s.cookies = {"robin": robin.cookies, "sam": sam.cookies, "kim": kim.cookies, "ana": ana.cookies, "jonas": jonas.cookies, "nobody": {}}
    until("the proof is asked for", lambda: "challenge" in robin.get(f"/desk/call/{busy.call}/panel").text)
    return s


# name, who looks, path (with the name of a call in braces), status
PAGES = [
    ("start", "nobody", "/", 200),
    ("handset", "nobody", "/handset", 200),
    ("sign-in", "nobody", "/desk/sign-in", 200),
    ("desk-signed-out", "nobody", "/desk", 200),
    ("desk-empty", "kim", "/desk", 200),
    ("desk-proving", "robin", "/desk", 200),
    ("desk-stranger", "sam", "/desk", 200),
    ("desk-waiting", "kim", "/desk/call/{waiting}", 200),
    ("desk-lead-looks-on", "kim", "/desk/call/{busy}", 200),
    ("portal", "ana", "/me", 200),
    ("portal-frozen", "jonas", "/me", 200),
    ("portal-sign-in", "nobody", "/me/sign-in", 200),
    ("portal-security", "ana", "/me/security", 200),
    ("admin", "kim", "/admin", 200),
    ("record", "kim", "/admin/calls/{past}", 200),
    ("policy", "kim", "/admin/policy", 200),
    ("risk", "kim", "/admin/risk", 200),
    ("not-found", "nobody", "/nowhere", 404),
    ("somebody-elses-call", "sam", "/desk/call/{busy}", 404),
    ("dead-link", "nobody", "/undo/" + "0" * 64, 422),
]


def visit(stage: Stage, open_browser: Open, who: str, path: str, status: int, **options: object) -> Page:
    context: BrowserContext = open_browser(stage.demo.url, **options)
    context.add_cookies([{"name": k, "value": v, "url": stage.demo.url} for k, v in stage.cookies[who].items()])
    if status >= 400:
        # The browser reports the page's own status as an error: that one is wanted.
        context.complaints.expected.append(f"the server responded with a status of {status}")
    page = context.new_page()
    answer = page.goto(stage.demo.url + path.format(**stage.calls), wait_until="load")
    assert answer and answer.status == status, f"{path}: {answer and answer.status}"
    return page


# What a reader with a screen reader, or with a finger, would stumble over.
FLAWS = """() => {
  const flaws = [];
  const say = (element, what) => flaws.push(`${what}: ${element.outerHTML.slice(0, 160)}`);
  if (!document.documentElement.lang) flaws.push("the page says no language");
  if (!document.title.trim()) flaws.push("the page has no title");
  if (document.querySelectorAll("h1").length !== 1) flaws.push(`the page has ${document.querySelectorAll("h1").length} main headings`);
  if (document.querySelectorAll("main").length !== 1) flaws.push("the page has no main part");
  const name = (e) => {
    const by = (e.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
    return (e.getAttribute("aria-label") ?? "") + by + [...(e.labels ?? [])].map((l) => l.textContent).join("");
  };
  for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea, output, progress, meter")) {
    if (!name(e).trim()) say(e, "has no label");
  }
  for (const e of document.querySelectorAll("button, a[href], summary")) {
    if (!(name(e) + e.textContent).trim()) say(e, "has no name");
  }
  for (const e of document.querySelectorAll("img:not([alt]), svg:not([aria-hidden=true]):not([role=img])")) say(e, "has no description");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) flaws.push(`the id ${id} is there twice`);
  for (const e of document.querySelectorAll("[aria-labelledby], [aria-describedby], label[for]")) {
    const named = (e.getAttribute("aria-labelledby") ?? "") + " " + (e.getAttribute("aria-describedby") ?? "") + " " + (e.getAttribute("for") ?? "");
    for (const id of named.split(/\\s+/).filter(Boolean)) if (!document.getElementById(id)) say(e, `points at #${id}, which is not there`);
  }
  if (document.querySelector("[style], style, script:not([src])")) say(document.querySelector("[style], style, script:not([src])"), "is inline, which the policy for content forbids");
  return flaws;
}"""

WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1);
  return [`${document.documentElement.scrollWidth} > ${width}`, ...wide.slice(0, 6).map((e) => e.outerHTML.slice(0, 160))];
}"""

# Letters that differ too little from what is behind them (WCAG 2.2, 1.4.3).
FAINT = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith("color(srgb") ? { r: r * 255, g: g * 255, b: b * 255, a } : { r, g, b, a };
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1,
  });
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      layers.push(colour);
      if (colour.a === 1) break;
    }
    const paper = matchMedia("(prefers-color-scheme: dark)").matches ? { r: 18, g: 18, b: 18, a: 1 } : { r: 255, g: 255, b: 255, a: 1 };
    return layers.reduceRight((below, top) => over(top, below), paper);
  };
  const channel = (v) => { const c = v / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = (c) => 0.2126 * channel(c.r) + 0.7152 * channel(c.g) + 0.0722 * channel(c.b);
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest("svg, script, noscript, option, :disabled, .vh")) continue;
    const style = getComputedStyle(element);
    const paper = behind(element);
    const [a, b] = [light(over(parse(style.color), paper)), light(paper)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)}: "${walker.currentNode.nodeValue.trim().slice(0, 40)}" in ${element.outerHTML.slice(0, 80)}`);
  }
  return faint;
}"""

# Colours that are on their way from light to dark arrive at once.
AT_REST = "() => document.getAnimations().forEach((a) => { try { a.finish(); } catch { a.cancel(); } })"


def looks(page: Page, name: str, shots: Path) -> None:
    """Light and dark, on a telephone and on a desk."""
    assert page.evaluate(FLAWS) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(AT_REST)
        assert page.evaluate(FAINT) == [], f"{name} is hard to read in {scheme}"
        for size, viewport in SIZES.items():
            page.set_viewport_size(viewport)
            screenshot(page, shots / f"{name}-{scheme}-{size}.png")
            if size == "phone":
                assert page.evaluate(WIDE) == [], f"{name} scrolls sideways on a telephone"


@pytest.mark.parametrize(("name", "who", "path", "status"), PAGES, ids=[p[0] for p in PAGES])
def test_page(stage: Stage, open_browser: Open, shots: Path, name: str, who: str, path: str, status: int) -> None:
    page = visit(stage, open_browser, who, path, status)
    assert len(page.title()) > 3, "the title says where one is"
    looks(page, name, shots)


def test_security_headers(shared_demo: Demo) -> None:
    """Every answer, also the refusals, tells the browser to keep to itself."""
    for path in ["/", "/handset", "/desk", "/desk/sign-in", "/me", "/admin", "/nowhere", "/assets/base.css", "/healthz", "/undo/x"]:
        headers = shared_demo.http.get(path).headers
        policy = headers["content-security-policy"]
        for rule in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'", "form-action 'self'"]:
            assert rule in policy, f"{path}: {rule}"
        assert "unsafe" not in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] in ("no-referrer", "same-origin"), path
        # Not over http: a browser that once heard it would not come back to a demo.
        assert "strict-transport-security" not in headers, path
        assert ("microphone=(self)" if path == "/handset" else "microphone=()") in headers["permissions-policy"], path
        if not path.startswith("/assets/"):
            assert headers["cache-control"] == "no-store", path


def test_what_is_typed_survives_a_refresh(demo: Demo, open_browser: Open) -> None:
    """The call moves on while the agent types: text, focus and the place in the text stay."""
    desk = Desk(open_browser(demo.url), demo.url)
    phone = queued(demo, "ana", "4071")
    desk.page.get_by_role("button", name="Take").click()
    desk.level("authenticated")
    desk.page.locator("#heard-value").fill("12 Juni")
    desk.page.locator("#heard-value").press("ArrowLeft")
    before = desk.call.get_attribute("data-n")

    # Something happens elsewhere: the same agent asks for a proof in another window.
    other = Http(demo.url)
    other.cookies = {c["name"]: c["value"] for c in desk.page.context.cookies()}
    other.act(phone.call, "prove", factors="sms_code")
    expect(desk.call.locator(".challenge")).to_be_visible()
    assert desk.call.get_attribute("data-n") != before
    expect(desk.page.locator("#heard-value")).to_have_value("12 Juni")
    expect(desk.page.locator("#heard-value")).to_be_focused()
    desk.page.keyboard.type("per ")
    expect(desk.page.locator("#heard-value")).to_have_value("12 Junper i")

    # And once more, by the caller.
    phone.key("000000#")
    expect(desk.call.locator(".challenge")).to_contain_text("2 tries left")
    expect(desk.page.locator("#heard-value")).to_have_value("12 Junper i")


def test_the_queue_is_live(demo: Demo, open_browser: Open) -> None:
    """Calls come, are taken by others and go without anybody touching the page."""
    desk = Desk(open_browser(demo.url), demo.url)
    rows = desk.page.locator(".row")
    expect(rows).to_have_count(0)
    phone = queued(demo, "ana")
    expect(rows).to_have_count(1)
    expect(desk.page).to_have_title("(1) Desk · Juniper & Co")
    phone.hang_up()
    expect(rows).to_have_count(0)
    expect(desk.page).to_have_title("Desk · Juniper & Co")
