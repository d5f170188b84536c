"""Policies from a terminal and on the lead's page: proved, compared, staged, activated."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from conftest import Open, screenshot
from helpers import Http, command
from installation import Installation, Server

PASSWORD = "correct horse battery"
# What the lint lets through and no promise allows: an agent of the first line ends a freeze.
LOOSE = """
@id("agents_end_freezes")
permit (principal is Countersign::Agent, action == Countersign::Action::"do:end_freeze", resource)
when { principal.role == "agent" && context.level >= 3 };
"""


def policies(folder: Path, own: str) -> Path:
    """The shipped policies as a company copies them, and one of its own."""
    shipped = Path(__file__).parents[2] / "policies"
    target = folder / "policies"
    (target / "base").mkdir(parents=True)
    (target / "invariants").mkdir()
    (target / "countersign.cedarschema").write_text((shipped / "countersign.cedarschema").read_text())
    for name in ["base", "invariants"]:
        for file in (shipped / name).glob("*.cedar"):
            (target / name / file.name).write_text(file.read_text())
    (target / "own.cedar").write_text(own)
    return target


def test_proofs_and_differences_in_a_terminal(tmp_path: Path) -> None:
    proved = command("policy", "prove")
    assert proved.returncode == 0 and "19 of 19 proved" in proved.stdout, proved
    loose = policies(tmp_path, LOOSE)
    cases = tmp_path / "broken.txt"
    broken = command("policy", "prove", loose, "--cases", cases)
    assert broken.returncode == 1 and "broken  named_teams" in broken.stdout.replace("\x1b[0m", ""), broken
    assert "`do:end_freeze` is permitted to an agent, for a caller at level strong" in broken.stdout, broken
    again = command("policy", "test", cases, "--policies", loose)
    assert again.returncode == 0 and "1 cases, all answered as they stand" in again.stdout, again
    mended = command("policy", "test", cases)
    assert mended.returncode == 1 and "they answer:" in mended.stdout, mended
    differs = command("policy", "diff", "shipped", loose)
    assert differs.returncode == 0 and "1 newly permitted" in differs.stdout and "0 newly refused" in differs.stdout, differs
    missing = command("policy", "prove", CVC5="/nowhere/cvc5")
    assert missing.returncode == 1 and "Nothing was proved" in missing.stderr, missing


def lead(installation: Installation, server: Server) -> dict[str, str]:
    totp = installation.add_agent("kim", "lead", PASSWORD)
    http = Http(server.url)
    reply = http.post("/desk/sign-in", {"name": "kim", "password": PASSWORD, "code": totp.now()})
    assert reply.status == 303, reply
    return http.cookies


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_set_is_staged_and_activated(tmp_path: Path, open_browser: Open, shots: Path, scheme: str) -> None:
    installation = Installation(tmp_path / "world")
    server = Server(installation, 1)
    cookies = lead(installation, server)
    loose = policies(tmp_path, LOOSE)
    good = installation.run("policy", "stage", "--note", "Call detail only after a password", "--pack", "us-cpni")
    assert good.returncode == 0 and "its promises are proved" in good.stdout, good
    assert "newly refuses view:orders" in good.stdout, good
    bad = installation.run("policy", "stage", loose, "--note", "Agents end freezes")
    assert bad.returncode == 1 and "not all of its promises are proved" in bad.stdout, bad

    width = {"width": 390, "height": 844} if scheme == "dark" else {"width": 1440, "height": 900}
    context = open_browser(server.url, color_scheme=scheme, viewport=width)
    context.add_cookies([{"name": k, "value": v, "url": server.url} for k, v in cookies.items()])
    page = context.new_page()
    page.goto(f"{server.url}/admin/policy")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    sets = page.locator("article.staged")
    expect(sets).to_have_count(2)
    expect(sets.filter(has_text="Agents end freezes")).to_contain_text("Only specialists and leads change factors and end a freeze.")
    screenshot(page, shots / f"policy-staged-{scheme}.png")
    # What is proved is one click; what is not asks for a reason.
    risky = sets.filter(has_text="Agents end freezes")
    expect(risky.get_by_role("button", name="Activate although not proved")).to_be_visible()
    calm = sets.filter(has_text="Call detail only after a password")
    calm.get_by_role("button", name="Activate on all nodes").click()
    expect(page.locator("article.staged").filter(has_text="Call detail only after a password")).to_contain_text("in force")
    expect(page.get_by_text("activated by kim").first).to_be_visible()
    risky = page.locator("article.staged").filter(has_text="Agents end freezes")
    risky.get_by_label("Why it is to be used all the same").fill("Storm: only agents are at work tonight")
    risky.get_by_role("button", name="Activate although not proved").click()
    expect(page.get_by_text("Its promises were not proved. Reason: Storm: only agents are at work tonight")).to_be_visible()
    screenshot(page, shots / f"policy-activated-{scheme}.png")

    # It decides after a restart as well.
    active = page.locator(".id").first.inner_text()
    server.stop()
    again = Server(installation, 2)
    assert again.fields["policy"] == active, again.fields
    again.stop()
