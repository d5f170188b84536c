"""A real telephone call: the demo's SIP gateway, called with `countersign call` and with sipp, over the
same flow as everything else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

import terminal
from helpers import Demo, Http, Program, binary, environment, until

ANA, STRANGER = "+12025550142", "+12025550199"


class Terminal(terminal.Terminal):
    """One that calls the demo."""

    def __init__(self, demo: Program, number: str, *more: str, **extra: str) -> None:
        self.address = until("the telephone line", lambda: re.search(r"(sip:127\.0\.0\.1:\d+)", demo.out.read_text()))[1]
        super().__init__(self.address.replace("sip:", "sip:+12025550100@"), number, *more, **extra)
        until("it is answered", lambda: "Answered after" in self.text)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.close()


def listed(desk: Http, level: str) -> str | None:
    """The waiting call of this level."""
    page = desk.get("/desk/list").text
    for row in page.split('<li class="row')[1:]:
        if f"level-{level}" in row:
            found = re.search(r'data-call="(call_[0-9a-f]{32})"', row)
            return found[1] if found else None
    return None


def story(demo: Demo, call: str) -> str:
    return demo.lead().get(f"/admin/calls/{call}").text


def test_ana_calls_proves_waits_and_talks(demo: Demo, terminals: list[Terminal]) -> None:
    robin = demo.sign_in("Robin")
    ana = Terminal(demo, ANA)
    terminals.append(ana)
    until("something is said", lambda: "something is heard" in ana.text)
    # Barge in: nobody has to hear it to the end. A delivery is due, so "something else" is 2.
    ana.key("2")
    live = until("the call is on the lead's page", lambda: re.search(r"/admin/calls/(call_[0-9a-f]{32})", demo.lead().get("/admin").text))[1]
    until("a PIN is asked for", lambda: "Asked for PIN" in story(demo, live))
    ana.key("4071#")
    until("she has proved it", lambda: "Proved: PIN" in story(demo, live))
    ana.key("1")
    call = until("she waits", lambda: listed(robin, "authenticated"))
    assert call == live
    assert robin.act(call, "accept").status == 200
    # A secret in mid call: the agent asks, the caller keys, both talk on.
    assert robin.act(call, "prove", action="", factors="pin").status == 200
    assert robin.act(call, "cancel").status == 200
    assert robin.act(call, "end").status == 200
    assert "The other side hung up." in ana.over()
    assert "by the agent" in story(demo, call) or "The agent ended the call" in story(demo, call)


def recordings() -> dict[str, dict[str, str]]:
    """The set that comes with the program, in English: what each says, and how long it is."""
    listed = subprocess.run([binary(), "prompts", "list", "--lang", "en"], capture_output=True, text=True, check=True, env=environment(), cwd="/")  # noqa: S603
    rows = re.findall(r"^(\S+)\s+en\s+([\d.]+)\s+shipped\s+(.*)$", listed.stdout, re.MULTILINE)
    return {text: {"id": name, "seconds": seconds} for name, seconds, text in rows}


def samples(path: Path) -> array:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        return array("h", file.readframes(file.getnframes()))


def test_a_caller_hears_words_and_a_code_digit_by_digit_without_any_program_that_speaks(demo: Demo, terminals: list[Terminal], tmp_path: Path) -> None:
    """What came over the line is compared with the recordings, byte by byte, by the terminal: it shows only
    what it has heard whole, or a quarter of a second of what nothing else begins like."""
    known = recordings()
    assert len(known) > 150
    heard = tmp_path / "heard.wav"
    stranger = Terminal(demo, STRANGER, "--record", str(heard))
    terminals.append(stranger)
    until("the greeting is heard to its end", lambda: "  Welcome to Juniper & Co.\n" in stranger.text)
    until("a key is offered for each language", lambda: re.search(r"  For English, press …\n +1\n  Para español, marque …\n +2\n  Für Deutsch bitte die …\n +3\n  … drücken.\n", stranger.text), seconds=40)
    stranger.key("1")
    # Whose first sentence began while another was broken off: the terminal knows recordings from their beginning.
    until("the menu is heard", lambda: "  To enter that code, press 1.\n" in stranger.text)
    stranger.key("3")
    first = until("the code is said", lambda: re.search(r"there: …\n +([0-9 ]{15})\n  Once more: …\n", stranger.text), seconds=60)[1]
    # The portal takes these digits, in this order, for a call that is on the line: they were the right ones.
    ana = Http(demo.url)
    assert ana.post("/demo/sign-in/portal/ana").status == 303
    code = first.replace(" ", "")
    assert "/me/code/confirm" not in ana.post("/me/code", {"code": f"{(int(code) + 1) % 10**8:08}"}).text
    assert "/me/code/confirm" in ana.post("/me/code", {"code": code}).text
    stranger.key("")
    stranger.over()
    sound = samples(heard)
    # 20 ms at a time: speech is there, near -20 dBFS, and nothing is cut off.
    levels = [max(abs(s) for s in sound[at : at + 160]) for at in range(0, len(sound) - 160, 160)]
    assert max(levels) < 32_000
    spoken = sum(level > 500 for level in levels) / 50
    seconds = sum(float(known[text]["seconds"]) for text in known if f"  {text}\n" in stranger.text)
    assert spoken > 0.6 * seconds, (spoken, seconds)


def test_recordings_of_ones_own_are_brought_in_checked_and_heard(tmp_path: Path) -> None:
    def prompts(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([binary(), "prompts", *args], capture_output=True, text=True, check=False, env=environment() | {"NO_COLOR": "1"}, cwd=tmp_path)  # noqa: S603

    said = prompts("say", "approve-in-portal", "--lang", "de", "--to", str(tmp_path / "said.wav"))
    assert said.returncode == 0, said.stderr
    assert "4, 0, 7, 1, 9, 2" in said.stdout
    assert len(samples(tmp_path / "said.wav")) > 8 * 8000
    script = prompts("script", "--lang", "es")
    assert "es/welcome.wav\tLe damos la bienvenida a Juniper & Co." in script.stdout
    # A recording of one's own: what was just written, under another name.
    (tmp_path / "mine" / "de").mkdir(parents=True)
    shutil.copy(tmp_path / "said.wav", tmp_path / "mine" / "de" / "welcome.wav")
    assert prompts("import", "mine", "--into", "set", "--dry-run").returncode == 0
    assert not (tmp_path / "set").exists()
    taken = prompts("import", "mine", "--into", "set", "--made-by", "us", "--licence", "ours")
    assert taken.returncode == 0, taken.stderr
    assert "1 recordings are in set." in taken.stdout and "\x1b" not in taken.stdout
    checked = prompts("check", "set")
    assert checked.returncode == 0 and "nothing is wrong" in checked.stdout, checked.stdout
    shutil.copy(tmp_path / "said.wav", tmp_path / "mine" / "de" / "welcom.wav")
    refused = prompts("import", "mine", "--into", "set")
    assert refused.returncode != 0 and "nothing was written" in refused.stderr
    sound = next((tmp_path / "set" / "de").iterdir())
    sound.write_bytes(sound.read_bytes()[:-2] + b"\x01\x00")
    broken = prompts("check", "set")
    assert broken.returncode != 0 and "SHA-256" in broken.stdout
    assert prompts("check").returncode == 0, "the set that comes with us"
    assert prompts("export", "ours").returncode == 0
    assert prompts("check", "ours").returncode == 0


def test_a_stranger_hangs_up_in_the_middle_of_a_prompt(demo: Demo, terminals: list[Terminal]) -> None:
    stranger = Terminal(demo, STRANGER)
    terminals.append(stranger)
    until("something is said", lambda: "something is heard" in stranger.text)
    stranger.key("")
    assert "The call is over." in stranger.over()
    live = re.search(r"/admin/calls/(call_[0-9a-f]{32})", demo.lead().get("/admin").text)
    assert live
    until("its end is on record", lambda: "The caller hung up" in story(demo, live[1]))


def test_an_attestation_nobody_checked_counts_for_nothing(demo: Demo, terminals: list[Terminal]) -> None:
    """Whoever shows Ana's number is greeted as a known number, and has proved nothing."""
    thief = Terminal(demo, ANA)
    terminals.append(thief)
    until("something is said", lambda: "something is heard" in thief.text)
    thief.key("0#")
    live = until("the call is there", lambda: re.search(r"/admin/calls/(call_[0-9a-f]{32})", demo.lead().get("/admin").text))[1]
    page = story(demo, live)
    assert "Proved" not in page and "authenticated" not in page.lower().replace("not authenticated", "")


def test_no_number_and_no_key_is_logged_whatever_is_asked_for(tmp_path: Path, terminals: list[Terminal]) -> None:
    (tmp_path / "tmp").mkdir()
    program = Program(tmp_path / "demo", "demo", "--port", "0", TMPDIR=str(tmp_path / "tmp"), COUNTERSIGN_LOG="info,rsipstack=trace,countersign_sip=trace,countersign_server=debug")
    try:
        url = program.wait_for(r"(http://127\.0\.0\.1:\d+)/handset", program.out)[1]
        ana = Terminal(program, ANA)
        terminals.append(ana)
        until("something is said", lambda: "something is heard" in ana.text)
        ana.key("2")
        ana.key("4071#")
        lead = Http(url)
        assert lead.post("/demo/sign-in/admin").status == 303
        live = until("the call is there", lambda: re.search(r"/admin/calls/(call_[0-9a-f]{32})", lead.get("/admin").text))[1]
        until("she has proved it, keyed ahead of the prompt", lambda: "Proved: PIN" in lead.get(f"/admin/calls/{live}").text)
        ana.key("")
        ana.over()
        said = program.err.read_text()
        assert '"target":"countersign_server' in said, "it does log"
        for private in ("4071", "2025550142", "INVITE sip"):
            assert private not in said
    finally:
        program.stop()


def test_sipp_calls_by_the_hundred(demo: Demo, tmp_path: Path) -> None:
    """Whoever made sipp knows nothing of us: a hundred calls that come, hear something and hang up."""
    if not shutil.which("sipp"):
        needed = os.environ.get("CI") == "true"
        (pytest.fail if needed else pytest.skip)("sipp is not installed: `cargo xtask test` installs it on Debian (sip-tester)")
    address = until("the telephone line", lambda: re.search(r"sip:(127\.0\.0\.1:\d+)", demo.out.read_text()))[1]
    done = subprocess.run(  # noqa: S603
        [shutil.which("sipp") or "sipp", "-sn", "uac", "-s", "+12025550100", "-i", "127.0.0.1", "-m", "100", "-r", "20", "-d", "500", "-timeout", "60", "-nostdin", address],
        capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path, env=os.environ | {"TERM": "xterm"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    until("nobody is left on the line", lambda: "countersign_live_calls 0" in demo.http.get("/metrics").text, seconds=30)
