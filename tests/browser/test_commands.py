"""The commands that an operator types: what they say, and with which code they end."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from helpers import Demo, command, none_of
from installation import CUSTOMERS, PERSONAL, Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "installation")


def subcommands(path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command below this one, from the help itself."""
    shown = command(*path, "--help")
    assert shown.returncode == 0, f"{path}: {shown.stderr}"
    assert shown.stderr == ""
    assert "Usage:" in shown.stdout and shown.stdout.strip().splitlines()[0].strip(), f"{path} says what it is for"
    block = re.search(r"^Commands:\n((?:  .+\n)+)", shown.stdout, re.MULTILINE)
    names = re.findall(r"^  (\S+)(.*)$", block[1], re.MULTILINE) if block else []
    for name, about in names:
        assert about.strip(), f"{name} has no words of its own"
    return [path, *(found for name, _ in names if name != "help" for found in subcommands((*path, name)))]


def test_every_command_has_help() -> None:
    every = [" ".join(path) for path in subcommands()]
    for name in ["demo", "serve", "doctor", "key new", "policy check", "audit show", "audit export", "import", "agent add", "backup"]:
        assert name in every, every
    assert re.fullmatch(r"countersign \d+\.\d+\.\d+\n", command("--version").stdout)
    unknown = command("nonsense")
    assert unknown.returncode == 2 and "nonsense" in unknown.stderr


def test_output_is_plain_in_a_pipe() -> None:
    for args in [["--help"], ["policy", "check"], ["doctor", "--config", "nowhere.toml"]]:
        said = command(*args)
        assert "\x1b" not in said.stdout + said.stderr, args


def test_a_port_that_is_taken(demo: Demo) -> None:
    said = command("demo", "--port", demo.url.rsplit(":", 1)[1], TMPDIR=str(demo.scratch))
    assert said.returncode == 1 and "--port" in said.stderr, said.stderr
    assert "Countersign demo" not in said.stdout


# ── doctor ─────────────────────────────────────────────────────────────────────────────────────


def test_doctor_has_nothing_to_say_of_a_good_file(installation: Installation) -> None:
    said = installation.run("doctor")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "nothing is missing or unsafe" in said.stdout, said.stdout


def test_doctor_finds_what_is_missing_and_unsafe(installation: Installation) -> None:
    good = installation.config.read_text()
    (installation.folder / "keys" / "countersign.key").chmod(0o644)
    bad = good.replace("https://calls.example.com", "http://calls.example.com").replace('fraud_line = "+1 202 555 0100"', 'fraud_line = "our web site"')
    bad = bad.replace('name = "Hearth & Home"', 'name = "The Hearth and Home Company"').replace("twilio.token", "no-such.token")
    bad = re.sub(r"\[mail\].*", "", bad, flags=re.DOTALL) + "\n[calls]\ncode_digits = 4\ntries = 9\n"
    installation.config.write_text(bad)
    said = installation.run("doctor")
    assert said.returncode == 1, said.stdout
    findings = dict(re.findall(r"^(missing|unsafe|note) +(\S+)  ", said.stdout, re.MULTILINE)[::-1])
    assert findings
    expected = [
        ("missing", "company.fraud_line"), ("missing", "twilio.auth_token_file"), ("unsafe", "listen.public_url"), ("unsafe", "company.name"),
        ("unsafe", "keys.file"), ("unsafe", "mail"), ("unsafe", "calls.code_digits"), ("unsafe", "calls.tries"),
    ]
    for severity, setting in expected:
        assert re.search(rf"^{severity} +{re.escape(setting)} ", said.stdout, re.MULTILINE), f"{severity} {setting} in\n{said.stdout}"
    assert re.search(r"^2 missing, 6 unsafe in ", said.stdout, re.MULTILINE), said.stdout
    order = [line.split()[0] for line in said.stdout.splitlines() if line.startswith(("missing", "unsafe", "note"))]
    assert order == sorted(order, key=["missing", "unsafe", "note"].index), "the worst comes first"


def test_a_misspelt_setting_is_no_default(installation: Installation) -> None:
    text = installation.config.read_text().replace("fraud_line", "fraud_lime")
    installation.config.write_text(text)
    line = text[: text.index("fraud_lime")].count("\n") + 1
    for name in ("doctor", "serve"):
        said = installation.run(name)
        assert said.returncode == 1 and f"line {line}, column 1" in said.stderr and "fraud_lime" in said.stderr, said.stderr
    missing = command("doctor", "--config", installation.folder / "nowhere.toml")
    assert missing.returncode == 1 and "nowhere.toml" in missing.stderr


# ── key ────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_never_written_over(installation: Installation) -> None:
    key = installation.folder / "keys" / "countersign.key"
    before = key.read_text()
    again = command("key", "new", key)
    assert again.returncode == 1 and "is there already" in again.stderr, again.stderr
    assert key.read_text() == before


def test_the_record_does_not_open_with_another_key(installation: Installation) -> None:
    assert installation.run("import", installation.customers(CUSTOMERS)).returncode == 0
    key = installation.folder / "keys" / "countersign.key"
    key.unlink()
    assert command("key", "new", key).returncode == 0
    said = installation.run("agent", "add", "kim", "--role", "lead", stdin="correct horse battery\n")
    exported = installation.run("audit", "export")
    # Whatever still works, nothing personal can come out.
    none_of(PERSONAL, said.stdout + said.stderr + exported.stdout + exported.stderr, "the words of a program with the wrong key")


# ── import ─────────────────────────────────────────────────────────────────────────────────────


def accounts(installation: Installation) -> int:
    """How many customers are on file, counted in the file itself."""
    exported = installation.run("audit", "export")
    assert exported.returncode == 0, exported.stderr
    return sum(json.loads(line)["stream"].startswith("account/") for line in exported.stdout.splitlines())


def test_import_is_all_or_nothing(installation: Installation) -> None:
    # Without PINs: hashing them is what takes the time.
    plain = {column: value for column, value in CUSTOMERS[0].items() if column != "pin"}
    good = [plain | {"account_number": f"3000{i:04d}", "mobile": f"+1202555{1000 + i}", "email": f"c{i}@example.com"} for i in range(40)]
    bad = [dict(row) for row in good]
    bad[1]["mobile"] = "555-0142"
    bad[7]["date_of_birth"] = "21.6.87"
    bad[7]["pin"] = "1234"
    good[7]["pin"] = "6402"
    bad[20]["account_number"] = bad[3]["account_number"]
    bad[39]["email"] = "nobody"
    said = installation.run("import", installation.customers(bad))
    assert said.returncode == 1
    # The first line of the file has the names of the columns.
    for line, what in [(3, "mobile"), (9, "date_of_birth"), (9, "pin"), (22, "account_number: the same as in line 5"), (41, "email")]:
        assert re.search(rf"^line {line}  {what}", said.stderr, re.MULTILINE), f"line {line} {what} in\n{said.stderr}"
    assert "5 mistakes in" in said.stderr and "nothing was written" in said.stderr
    none_of(["555-0142", "21.6.87"], said.stderr, "what is said about mistakes")
    assert accounts(installation) == 0

    tried = installation.run("import", installation.customers(good), "--dry-run")
    assert tried.returncode == 0 and "40 customers could be imported. Nothing was written." in tried.stdout, tried.stderr
    assert accounts(installation) == 0
    done = installation.run("import", installation.customers(good))
    assert done.returncode == 0 and "40 customers imported." in done.stdout, done.stderr
    assert accounts(installation) == 40

    # Who is on file already is not touched, and neither is anybody beside them.
    new = CUSTOMERS[1]
    again = installation.run("import", installation.customers([new, good[0]]))
    assert again.returncode == 1 and "line 3  account_number: on file already" in again.stderr, again.stderr
    assert accounts(installation) == 40


def test_import_reads_json_and_tells_where_a_file_is_broken(installation: Installation) -> None:
    file = installation.folder / "customers.json"
    file.write_text(json.dumps(CUSTOMERS))
    assert installation.run("import", file).returncode == 0
    assert accounts(installation) == 2
    file.write_text('[\n  {"account_number": "1"},\n  {"acount_number": "2"}\n]')
    said = installation.run("import", file)
    assert said.returncode == 1 and "line 3" in said.stderr and "acount_number" in said.stderr, said.stderr
    columns = installation.folder / "columns.csv"
    columns.write_text("account_number,shoe_size\n1,44\n")
    said = installation.run("import", columns)
    assert said.returncode == 1 and "shoe_size" in said.stderr, said.stderr
    ragged = installation.folder / "ragged.csv"
    ragged.write_text("account_number,name\n1,Ana\n2\n")
    said = installation.run("import", ragged)
    assert said.returncode == 1 and "line" in said.stderr and "3" in said.stderr, said.stderr
    for name in ["customers.xml", "nowhere.csv"]:
        if name.endswith("xml"):
            (installation.folder / name).write_text("<a/>")
        said = installation.run("import", installation.folder / name)
        assert said.returncode == 1 and name in said.stderr, said.stderr
    assert accounts(installation) == 2


# ── agents ─────────────────────────────────────────────────────────────────────────────────────


def test_agents_need_a_name_and_a_long_password(installation: Installation) -> None:
    installation.add_agent("robin", "agent", "correct horse battery")
    for name, role, password, why in [
        ("sam", "specialist", "too short", "12 characters"), ("robin", "lead", "correct horse battery", "taken"),
        ("Robin", "lead", "correct horse battery", "taken"), ("x", "lead", "correct horse battery", "2 to 40"), ("a b", "lead", "correct horse battery", "2 to 40"),
    ]:
        said = installation.run("agent", "add", name, "--role", role, stdin=f"{password}\n")
        assert said.returncode == 1 and why in said.stderr, f"{name}: {said.stderr}"
        assert password not in said.stderr
    said = installation.run("agent", "add", "kim", "--role", "emperor", stdin="correct horse battery\n")
    assert said.returncode == 2 and "agent, specialist, lead or admin" in said.stderr


# ── policy ─────────────────────────────────────────────────────────────────────────────────────

OWN = """// A pack of our own.
@id("last_four")
permit (
  principal,
  action == Countersign::Action::"reach:authenticated",
  resource
)
when { context.proofs.contains("ssn_last4") };
"""


def test_the_shipped_policies_are_clean() -> None:
    said = command("policy", "check")
    assert said.returncode == 0 and "nothing to complain of" in said.stdout, said.stdout + said.stderr


def test_an_ssn_is_no_proof(tmp_path: Path) -> None:
    """`ssn_asked`: the lint names the place, and the server does not start with such a policy."""
    file = tmp_path / "own.cedar"
    file.write_text(OWN)
    said = command("policy", "check", file)
    text = said.stdout + said.stderr
    assert said.returncode == 1, text
    line = OWN[: OWN.index('"ssn_last4"')].count("\n") + 1
    column = OWN.splitlines()[line - 1].index('"ssn_last4"') + 1
    assert f"own.cedar:{line}:{column}" in text, text
    assert "treated as a proof" in text and "identification is not authentication" in text
    assert "1 error" in text

    installation = Installation(tmp_path / "installation")
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "own.cedar").write_text(OWN)
    installation.config.write_text(installation.config.read_text() + f'\n[policy]\ndir = "{folder}"\n')
    examined = installation.run("doctor")
    assert examined.returncode == 1 and "policy.dir" in examined.stdout, examined.stdout + examined.stderr
    served = installation.run("serve")
    assert served.returncode == 1, served.stderr


def test_a_broken_policy_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "own.cedar"
    file.write_text('permit (\n  principal,\n  action == "x"\n')
    said = command("policy", "check", file)
    assert said.returncode == 1 and re.search(r"own\.cedar:\d+:\d+", said.stdout + said.stderr), said.stdout + said.stderr
    said = command("policy", "check", tmp_path / "nowhere.cedar")
    assert said.returncode == 1 and "nowhere.cedar" in said.stderr


# ── signatures ──────────────────────────────────────────────────────────────────────────────────


def test_vectors_of_signatures_are_checked_line_by_line(tmp_path: Path) -> None:
    vectors = Path(__file__).parents[2] / "crates" / "stir" / "tests" / "vectors" / "passport.json"
    said = command("stir", "check", "--vectors", vectors)
    lines = [line for line in said.stdout.splitlines() if line.startswith("ok ")]
    assert said.returncode == 0 and f"All {len(lines)} vectors" in said.stdout and len(lines) > 20, said.stdout + said.stderr
    # At another time nothing is fresh any more: each line says what comes and what should.
    later = tmp_path / "later.json"
    text = json.loads(vectors.read_text())
    for vector in text["vectors"]:
        vector["now"] += 3600
    later.write_text(json.dumps(text))
    said = command("stir", "check", "--vectors", later)
    assert said.returncode == 1 and "WRONG" in said.stdout and "should be" in said.stdout and "do not come out" in said.stdout, said.stdout
    (tmp_path / "empty.json").write_text("{}")
    assert command("stir", "check", "--vectors", tmp_path / "empty.json").returncode == 1


# ── the record ─────────────────────────────────────────────────────────────────────────────────


def test_a_backup_is_whole_and_replaces_nothing(installation: Installation) -> None:
    assert installation.run("import", installation.customers(CUSTOMERS)).returncode == 0
    copy = installation.folder / "copy.db"
    made = installation.run("backup", copy)
    assert made.returncode == 0, made.stderr
    with sqlite3.connect(copy) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()
    before = copy.read_bytes()
    again = installation.run("backup", copy)
    assert again.returncode == 1 and copy.read_bytes() == before, again.stderr
    # The copy is a record: the same events come out of it.
    original = installation.run("audit", "export").stdout
    was = f'path = "{installation.record}"'
    installation.config.write_text(installation.config.read_text().replace(was, f'path = "{copy}"'))
    # It does not begin with keys of its own, which would open nothing of what is in it.
    alone = installation.run("audit", "export")
    assert alone.returncode == 1 and "latest copy of the key store" in alone.stderr, alone.stderr
    assert not copy.with_name("copy.keys.db").exists()
    keys = installation.record.with_name("record.keys.db")
    beside = f'path = "{copy}"\nkeys = "{keys}"'
    installation.config.write_text(installation.config.read_text().replace(f'path = "{copy}"', beside))
    assert installation.run("audit", "export").stdout == original
    kept = installation.run("backup", installation.folder / "keys.db", "--keys")
    assert kept.returncode == 0 and "destroy it" in kept.stdout, kept.stderr
    none_of([p for p in PERSONAL if len(p) > 6], before.decode("latin-1"), "the copy")


def test_a_call_that_is_not_there(installation: Installation) -> None:
    said = installation.run("audit", "show", "call_" + "0" * 32)
    assert said.returncode == 1 and "no call" in said.stderr
    said = installation.run("audit", "show", "4711")
    assert said.returncode == 2 and "4711" in said.stderr
