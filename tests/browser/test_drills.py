"""Drills, for those who read them: the page to hand on, and the lead's page of the last ones."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from playwright.sync_api import expect

from conftest import Open
from helpers import Demo, command
from test_accessible import LOOKS, axe, check  # noqa: F401
from test_pages import WIDE

PLAYED = ["--only", "spoofed_number", "--only", "ssn_as_proof", "--seed", "5"]


@pytest.mark.parametrize("look", LOOKS, ids=["phone-light", "desktop-dark"])
def test_the_report_is_a_page_by_itself(open_browser: Open, axe: str, tmp_path: Path, look: dict[str, object]) -> None:  # noqa: F811
    page_file = tmp_path / "drills.html"
    said = command("drill", *PLAYED, "--report", page_file)
    assert said.returncode == 0, said.stdout + said.stderr
    context = open_browser("file://", reduced_motion="reduce", **look)
    page = context.new_page()
    page.goto(page_file.as_uri())
    expect(page.get_by_role("heading", level=1)).to_have_text("Drills")
    expect(page.locator("article")).to_have_count(2)
    check(page, axe)
    assert page.evaluate(WIDE) == []
    page.locator("article").first.get_by_text("steps").click()
    expect(page.get_by_text("Guesses the PIN twice.").first).to_be_visible()
    check(page, axe)
    assert page.evaluate(WIDE) == []


@pytest.mark.parametrize("look", LOOKS, ids=["phone-light", "desktop-dark"])
def test_the_lead_reads_the_last_drills(demo: Demo, open_browser: Open, axe: str, tmp_path: Path, look: dict[str, object]) -> None:  # noqa: F811
    context = open_browser(demo.url, reduced_motion="reduce", **look)
    context.add_cookies([{"name": k, "value": v, "url": demo.url} for k, v in demo.lead().cookies.items()])
    page = context.new_page()
    page.goto(f"{demo.url}/admin")
    page.get_by_role("link", name="Drills").click()
    expect(page.get_by_text("No drills were kept yet.")).to_be_visible()
    check(page, axe)
    assert page.evaluate(WIDE) == []

    assert command("drill", *PLAYED, "--json", tmp_path / "drills.json").returncode == 0
    report = json.loads((tmp_path / "drills.json").read_text())
    drills = [{"name": d["name"], "story": d["story"], "ended": d["verdict"], "place": d["by"][0]} for d in report["drills"]]
    drills.append({"name": "online_only", "story": "Somebody insists.", "ended": "got_through", "place": "do:close_account was carried out"})
    run = {"at": 1_780_308_000_000, "program": report["program"], "policy": "another", "seed": report["seed"], "drills": drills}
    # As `drill --save` does it; the demo has no configuration that could name its record.
    with sqlite3.connect(next(demo.scratch.glob("*/demo.db"))) as record:
        record.execute("INSERT INTO doc (kind, id, version, body) VALUES ('drill-report', ?, 1, ?)", (b"last", json.dumps(run).encode()))
    page.reload()
    expect(page.get_by_text("1 got through")).to_be_visible()
    expect(page.get_by_text("is in force now")).to_be_visible()
    page.get_by_text("spoofed_number").click()
    expect(page.get_by_text("A stranger shows Ana’s telephone number")).to_be_visible()
    check(page, axe)
    assert page.evaluate(WIDE) == []
