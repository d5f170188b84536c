"""The field kit: the page of the lead, our own grade, the charts as pictures, and the command on a terminal."""

from __future__ import annotations

import csv
import os
import pty
import select
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from conftest import Open, screenshot
from helpers import Demo, Http, binary, command, environment, queued
from test_accessible import axe, check  # noqa: F401 (a fixture)
from test_pages import SIZES, looks

EXAMPLE = Path(__file__).parents[2] / "docs" / "field-notes.example.csv"


def lead(context: BrowserContext, demo: Demo) -> Page:
    http = Http(demo.url)
    assert http.post("/demo/sign-in/admin").status == 303
    context.add_cookies([{"name": name, "value": value, "url": demo.url} for name, value in http.cookies.items()])
    return context.new_page()


def pictures(page: Page) -> None:
    """Every picture is there: a broken one has no width."""
    page.wait_for_load_state("networkidle")
    widths = page.locator("img").evaluate_all("all => all.map(i => i.complete && i.naturalWidth)")
    assert widths and all(width == 432 for width in widths), widths


def test_field_notes_page(demo: Demo, open_browser: Open, shots: Path, axe: str) -> None:  # noqa: F811
    """A lead records a call by keyboard and mouse, takes a file in, and reads the charts."""
    context = open_browser(demo.url, reduced_motion="reduce", accept_downloads=True)
    # A form that is refused answers with a status that the browser writes down.
    context.complaints.expected.append("422")
    page = lead(context, demo)
    page.goto(f"{demo.url}/admin")
    page.get_by_role("link", name="Field notes").click()
    expect(page.get_by_role("heading", name="Field notes")).to_be_visible()
    expect(page.get_by_text("No notes yet.")).to_be_visible()
    pictures(page)
    looks(page, "survey-empty", shots)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(SIZES["desktop"])
    check(page, axe)

    page.get_by_label("Center").fill("Example Power <b>& Light</b>")
    page.get_by_label("Industry").fill("utility")
    page.get_by_role("group", name="How the account was found").get_by_label("asked by an agent").check()
    page.get_by_role("group", name="Told to the caller").get_by_label("address").select_option("after a proof")
    page.get_by_label("Remarks").fill("Read the address back.\nTwice.")
    page.get_by_label("Remarks").press("Tab")
    page.keyboard.press("Enter")
    # What contradicts itself is not recorded, and nothing of it is lost.
    expect(page.get_by_role("alert")).to_contain_text("Not recorded yet.")
    expect(page.get_by_role("alert")).to_contain_text("identifiers: is empty although the caller was asked")
    expect(page.get_by_label("Center")).to_have_value("Example Power <b>& Light</b>")
    check(page, axe)
    page.get_by_role("group", name="Asked for, to identify").get_by_label("name", exact=True).check()
    page.get_by_role("group", name="Told to the caller").get_by_label("address").select_option("once identified")
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("The note is recorded.")
    note = page.locator(".note-list > li")
    expect(note).to_have_count(1)
    expect(note.get_by_role("heading")).to_have_text("Example Power <b>& Light</b>")
    expect(note.locator(".chip")).to_have_text("oh no")
    # Looking again is no second note.
    page.reload()
    expect(page.locator(".note-list > li")).to_have_count(1)

    text = EXAMPLE.read_text()
    page.get_by_label("Import").fill(text.replace("2026-03-02", "yesterday", 1))
    page.get_by_role("button", name="Take in").click()
    expect(page.locator("#csv-broken")).to_contain_text("line 2, column 20 (date): write a day that exists as YYYY-MM-DD")
    page.get_by_label("Import").fill(text)
    page.get_by_role("button", name="Take in").click()
    expect(page.get_by_role("status")).to_have_text("Taken in: 11. There already: 0.")
    expect(page.locator(".note-list > li")).to_have_count(12)
    expect(page.get_by_role("img", name="12 calls. good 3, okay 2, bad 2, oh no 4; not graded 1.")).to_be_visible()
    pictures(page)
    page.get_by_text("The same in figures").click()
    check(page, axe)
    looks(page, "survey", shots)
    check(page, axe)
    page.set_viewport_size(SIZES["desktop"])

    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    assert download.value.suggested_filename == "field-notes.csv"
    rows = list(csv.reader(Path(download.value.path()).read_text().splitlines(keepends=True)))
    assert len(rows) == 13 and all(len(row) == 12 for row in rows)
    first = page.locator(".note-list > li").filter(has_text="Example Toys")
    first.get_by_text("Remove", exact=True).click()
    first.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("status")).to_have_text("The note is gone.")
    expect(page.locator(".note-list > li")).to_have_count(11)


def test_our_grade_page(demo: Demo, open_browser: Open, shots: Path, axe: str) -> None:  # noqa: F811
    """Calls that ended, graded by the same rubric."""
    robin = demo.sign_in("Robin")
    for who, pin in [("ana", "4071"), ("ana", "0000"), ("ana", None)]:
        phone = queued(demo, who, pin)
        robin.act(phone.call, "accept")
        robin.act(phone.call, "end")
    queued(demo, None).hang_up()
    context = open_browser(demo.url, reduced_motion="reduce")
    page = lead(context, demo)
    page.goto(f"{demo.url}/admin")
    screenshot(page, shots / "admin-with-grade.png")
    page.get_by_role("link", name="Our grade").click()
    expect(page.get_by_role("heading", name="Our grade", exact=True)).to_be_visible()
    expect(page.locator("tbody .chip.good")).to_have_count(1)
    pictures(page)
    check(page, axe)
    looks(page, "grade", shots)
    check(page, axe)


@pytest.mark.parametrize("n", [0, 1, 35, 1000])
def test_charts_look_right(open_browser: Open, tmp_path: Path, shots: Path, n: int) -> None:
    """The two files, opened by themselves, in light and dark."""
    notes = tmp_path / "notes.csv"
    lines = EXAMPLE.read_text().splitlines()
    body = lines[1:]
    notes.write_text("\n".join([lines[0], *(body[i % len(body)] for i in range(n))]) + "\n")
    drawn = command("survey", "charts", "--file", notes, "--out", tmp_path / "charts", "--title", "calls <of> May & June")
    assert drawn.returncode == 0, drawn.stderr
    page = open_browser(None).new_page()
    for name in ("methods", "verdicts"):
        file = tmp_path / "charts" / f"{name}.svg"
        root = ElementTree.parse(file).getroot()
        assert root.get("role") == "img" and "calls <of> May & June" in "".join(root.itertext())
        # Within a page: a picture by itself has no element that could be pictured.
        page.set_content(f"<body style='margin: 0'>{file.read_text()}")
        page.set_viewport_size({"width": 432, "height": int(root.get("height", "0"))})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            screenshot(page, shots / f"chart-{name}-{n}-{scheme}.png")
        # No text runs out of the picture, in the fonts of this machine.
        ends = page.evaluate("[...document.querySelectorAll('text')].map(t => t.getBBox()).map(b => b.x + b.width)")
        assert max(ends) <= 432, ends
        boxes = page.evaluate("[...document.querySelectorAll('text')].map(t => t.getBBox()).map(b => [b.x, b.y, b.width, b.height])")
        for i, (x, y, w, h) in enumerate(boxes):
            for x2, y2, w2, h2 in boxes[i + 1 :]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 + 2 or y2 + h2 <= y + 2, f"two texts on one another in {name}"


# ── The command ────────────────────────────────────────────────────────────────────────────────


def test_the_kit_needs_nothing_but_a_folder(tmp_path: Path) -> None:
    """From the first note to the charts, with no configuration, and with what a person does wrong."""

    def survey(*args: str | Path):  # noqa: ANN202
        return command("survey", *args, cwd=tmp_path)

    missing = survey("list")
    assert missing.returncode == 1 and "field-notes.csv is not there: countersign survey add makes it" in missing.stderr
    added = survey("add", "--center", "Example Bank", "--date", "2026-03-02", "--identified-by", "number,ivr", "--identifiers", "account", "--proofs", "pin")
    assert added.returncode == 0 and "Note 1 is in field-notes.csv: good." in added.stdout, added.stderr
    added = survey("add", "--center", "=cmd|' /C calc'!A0", "--given", "address:anyone", "--asked-number")
    assert added.returncode == 0 and "oh no" in added.stdout and "[asks_which_number]" in added.stdout, added.stderr
    text = (tmp_path / "field-notes.csv").read_text()
    assert "\n'=cmd" in text and sorted(p.name for p in tmp_path.iterdir()) == ["field-notes.csv"]
    for args, why in [
        (["add", "--center", "A", "--given", "address"], "write one of name, address"), (["add", "--center", "A", "--date", "2026-02-30"], "write a day that exists"),
        (["add", "--proofs", "pin"], "--center is missing"), (["add", "--center", "A", "--given", "name:authenticated"], "there is none: name it in proofs"),
        (["add"], "say with flags what happened"), (["show", "3"], "there is no note 3: field-notes.csv has 2"), (["show", "0"], "there is no note 0"),
    ]:
        said = survey(*args)
        assert said.returncode != 0 and why in said.stderr, f"{args}: {said.stderr}"
    assert (tmp_path / "field-notes.csv").read_text() == text
    shown = survey("show", "2")
    assert "told                 address before anything was asked" in shown.stdout, shown.stdout
    assert survey("export").stdout == text
    took = survey("import", EXAMPLE)
    assert took.returncode == 0 and "11 notes added to field-notes.csv, 0 were there already." in took.stdout, took.stderr

    # A broken line is told, and is in nobody's way.
    with (tmp_path / "field-notes.csv").open("a") as out:
        out.write('Example X,"open,2026-03-02\n')
    for args in [["list"], ["export"], ["grade", "field-notes.csv"], ["charts", "--out", "charts"], ["add", "--center", "Example Last", "--proofs", "pin"]]:
        said = survey(*args)
        assert said.returncode == 1 and "line 15, column 11: a quotation mark opens here" in said.stderr, f"{args}: {said.stderr}"
        assert "1 record of field-notes.csv cannot be read: it was left as it is" in said.stderr
    assert survey("list").stdout.count("Example") == 13
    assert "Example Last" in (tmp_path / "field-notes.csv").read_text().splitlines()[-1]
    assert sorted(p.name for p in (tmp_path / "charts").iterdir()) == ["methods.svg", "verdicts.svg"]


def test_questions_on_a_terminal(tmp_path: Path) -> None:
    """Without flags it asks, and Enter takes what stands in brackets."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen([binary(), "survey", "add"], cwd=tmp_path, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs)  # noqa: S603
    os.close(theirs)
    said = b""

    def until_asked(question: bytes) -> None:
        nonlocal said
        while question not in said:
            assert select.select([ours], [], [], 20)[0], f"{question!r} in {said!r}"
            said += os.read(ours, 4096)

    for question, answer in [
        (b"Center [nothing]: ", "Example Inn"), (b"Industry", "travel"), (b"Date [", ""), (b"Reached", ""), (b"Identified how", "agent"), (b"to identify", "email"),
        (b"to prove", ""), (b"Told to the caller", "phone:identified"), (b"which number", "n"), (b"Offered", ""), (b"Could be changed", "phone:identified"), (b"Remarks", "Misheard, then changed."),
    ]:
        until_asked(question)
        os.write(ours, f"{answer}\n".encode())
    until_asked(b"Note 1 is in field-notes.csv: oh no.")
    assert program.wait(timeout=20) == 0
    os.close(ours)
    row = (tmp_path / "field-notes.csv").read_text().splitlines()[1]
    assert row.startswith("Example Inn,travel,") and row.endswith(',inbound,agent,email,,phone:identified,no,no,phone:identified,"Misheard, then changed."')
