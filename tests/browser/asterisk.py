"""A real Asterisk: Debian sid's package in a folder of its own (debootstrap), made once and kept in the
cache; each test runs it on free ports of this machine with a configuration that is written here, and
takes everything away with it. Making and entering the folder needs root."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from helpers import free_port, until

PACKAGES = ["asterisk"]
USER, PASSWORD = "countersign", "a-password-of-this-asterisk"
# What a call needs, and no more: it starts in a second instead of ten.
MODULES = [
    "app_echo", "app_playback", "app_read", "app_stasis", "app_system", "bridge_builtin_features", "bridge_native_rtp", "bridge_simple", "bridge_softmix",
    "chan_bridge_media", "chan_pjsip", "chan_rtp", "codec_alaw", "codec_ulaw", "format_pcm", "format_wav", "func_callerid", "func_channel", "func_curl", "func_global", "func_logic", "func_strings",
    "pbx_config", "res_ari", "res_ari_applications", "res_ari_asterisk", "res_ari_bridges", "res_ari_channels", "res_ari_endpoints",
    "res_ari_events", "res_ari_model", "res_ari_playbacks", "res_ari_recordings", "res_ari_sounds", "res_curl", "res_http_media_cache",
    "res_http_websocket", "res_musiconhold", "res_pjproject", "res_pjsip", "res_pjsip_authenticator_digest", "res_pjsip_caller_id",
    "res_pjsip_dtmf_info", "res_pjsip_endpoint_identifier_ip", "res_pjsip_path", "res_pjsip_pubsub", "res_pjsip_rfc3326", "res_pjsip_sdp_rtp",
    "res_pjsip_session", "res_rtp_asterisk", "res_rtp_multicast", "res_sorcery_astdb", "res_sorcery_config", "res_sorcery_memory", "res_stasis",
    "res_stasis_answer", "res_stasis_playback", "res_stasis_recording", "res_stasis_snoop", "res_timing_timerfd", "res_tonedetect", "res_websocket_client",
]


def missing() -> str | None:
    """Why there can be no Asterisk here."""
    if os.geteuid() != 0:
        return "a real Asterisk runs in a folder of its own (chroot), which needs root"
    if not shutil.which("debootstrap", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return "debootstrap is not installed: `cargo xtask test` installs it on Debian"
    return None


def root() -> Path:
    """The folder with Debian and Asterisk in it. Made if it is not there: that takes a minute or two."""
    key = hashlib.sha256(" ".join(["sid", "1", *PACKAGES]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "countersign"
    cache.mkdir(parents=True, exist_ok=True)
    there = cache / f"asterisk-{key}"
    with (cache / f"asterisk-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not there.is_dir():
            making = cache / f"asterisk-{key}.making"
            shutil.rmtree(making, ignore_errors=True)
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}

            def run(*command: str | Path) -> None:
                done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=900, check=False)  # noqa: S603
                assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"

            run("debootstrap", "--variant=minbase", "sid", making)
            # Nothing that is installed in there starts by itself.
            policy = making / "usr" / "sbin" / "policy-rc.d"
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
            run("chroot", making, "apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES)
            making.rename(there)
    return there


class Asterisk:
    """One, with calls for a Stasis application, a telephone for an agent, and, where there is a port for one, a
    trunk to whoever is called."""

    def __init__(self, app: str = "countersign", dialplan: str | None = None, trunk: int | None = None) -> None:
        self.root, self.app, self.trunk = root(), app, trunk
        self.http, self.sip = free_port(), free_port(socket.SOCK_DGRAM)
        (self.root / "srv").mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="countersign-", dir=self.root / "srv"))
        self.inside = f"/srv/{self.folder.name}"
        for name in ("run", "log", "spool", "lib", "db", "keys", "cache", "moh"):
            (self.folder / name).mkdir()
        # Music: ten seconds of a hum, as raw samples.
        (self.folder / "moh" / "hum.sln").write_bytes(bytes([0, 8, 0, 248]) * 40_000)
        self.process: subprocess.Popen[bytes] | None = None
        self.dialplan = dialplan or DIALPLAN
        self.configure()

    def configure(self) -> None:
        files = {
            "asterisk.conf": f"""[directories]
astetcdir => {self.inside}
astmoddir => {self.modules()}
astvarlibdir => {self.inside}/lib
astdbdir => {self.inside}/db
astkeydir => {self.inside}/keys
astdatadir => /usr/share/asterisk
astagidir => {self.inside}/lib
astspooldir => {self.inside}/spool
astrundir => {self.inside}/run
astlogdir => {self.inside}/log
astcachedir => {self.inside}/cache
[options]
documentation_language = en_US
""",
            "modules.conf": "[modules]\nautoload=no\n" + "".join(f"load={m}.so\n" for m in MODULES),
            "logger.conf": "[general]\n[logfiles]\nmessages => notice,warning,error\n",
            "http.conf": f"[general]\nenabled=yes\nbindaddr=127.0.0.1\nbindport={self.http}\n",
            "ari.conf": f"[general]\nenabled=yes\n[{USER}]\ntype=user\nread_only=no\npassword={PASSWORD}\n",
            "rtp.conf": f"[general]\nrtpstart={RTP[0]}\nrtpend={RTP[1]}\nstrictrtp=yes\n",
            **{f"{name}.conf": "[general]\n" for name in ("ccss", "cdr", "cel", "features", "manager", "pjproject", "res_http_media_cache", "stasis", "udptl")},
            "musiconhold.conf": f"[default]\nmode=files\ndirectory={self.inside}/moh\n",
            "indications.conf": "[general]\ncountry=us\n[us]\ndescription=US\nringcadence=2000,4000\nrecord=1400/500,0/15000\nring=440+480/2000,0/4000\n",
            "pjsip.conf": f"""[loop]
type=transport
protocol=udp
bind=127.0.0.1:{self.sip}
[caller]
type=endpoint
context=from-outside
transport=loop
disallow=all
allow=ulaw,alaw
direct_media=no
trust_id_inbound=yes
[caller]
type=identify
endpoint=caller
match=127.0.0.1
""" + (TRUNK.format(port=self.trunk) if self.trunk else ""),
            "extensions.conf": self.dialplan.format(app=self.app),
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def modules(self) -> str:
        found = next(self.root.glob("usr/lib/*/asterisk/modules"))
        return "/" + str(found.relative_to(self.root))

    def start(self) -> None:
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(  # noqa: S603
                [shutil.which("chroot") or "/usr/sbin/chroot", str(self.root), "/usr/sbin/asterisk", "-f", "-C", f"{self.inside}/asterisk.conf"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )
        until("Asterisk answers", self.is_up, seconds=30)

    def is_up(self) -> bool:
        assert self.process and self.process.poll() is None, f"Asterisk ended\n{self.said()}"
        try:
            return "system" in self.ari("GET", "/asterisk/info")
        except urllib.error.HTTPError:
            return False

    def ari(self, method: str, path: str, **query: str) -> dict:
        url = f"http://127.0.0.1:{self.http}/ari{path}"
        request = urllib.request.Request(url + ("?" + urllib.parse.urlencode(query) if query else ""), method=method)  # noqa: S310
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            body = reply.read()
        return json.loads(body) if body else {}

    def variable(self, name: str) -> str:
        return self.ari("GET", "/asterisk/variable", variable=name)["value"]

    def channels(self) -> list[dict]:
        found = self.ari("GET", "/channels")
        assert isinstance(found, list)
        return found

    def bridges(self) -> list[dict]:
        found = self.ari("GET", "/bridges")
        assert isinstance(found, list)
        return found

    def applications(self) -> bool:
        """Whether somebody takes the calls of the application."""
        found = self.ari("GET", "/applications")
        assert isinstance(found, list)
        return any(one["name"] == self.app for one in found)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.sip}"

    def said(self) -> str:
        out = (self.folder / "out").read_text(errors="replace")
        log = self.folder / "log" / "messages"
        return f"--- Asterisk\n{out[-4000:]}\n{log.read_text(errors='replace')[-6000:] if log.exists() else ''}"

    def wrote(self) -> str:
        """All that it has written, without the numbers of its threads: one of them may look like a PIN."""
        files = [self.folder / "out", self.folder / "log" / "messages"]
        text = "\n".join(file.read_text(errors="replace") for file in files if file.exists())
        return re.sub(r"(DEBUG|VERBOSE|NOTICE|WARNING|ERROR)\[\d+\]", r"\1", text)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


# Away from where Linux gives out ports by itself.
RTP = (24000, 24400)
TRUNK = """[trunk]
type=endpoint
context=nowhere
transport=loop
disallow=all
allow=ulaw
direct_media=no
aors=trunk
[trunk]
type=aor
contact=sip:127.0.0.1:{port}
"""
# The agent's telephone notes every key that reaches it.
DIALPLAN = """[from-outside]
exten => _[+1]X.,1,Stasis({app})
 same => n,Hangup()
exten => _2X.,1,Stasis({app},Verification passed,A)
 same => n,Hangup()
; What a caller has written into the attestation of a signature that does not hold.
exten => _3X.,1,Stasis({app},Signature failed,A,Verification passed)
 same => n,Hangup()
[agents]
exten => robin,1,Answer()
 same => n,Set(GLOBAL(AGENT_UP)=${{CHANNEL(name)}})
 same => n(more),Read(KEY,,1,,1,600)
 same => n,Set(GLOBAL(AGENT_HEARD)=${{GLOBAL(AGENT_HEARD)}}${{KEY}})
 same => n,Goto(more)
"""
