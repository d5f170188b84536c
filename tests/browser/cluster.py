"""A database that fails over: PostgreSQL under Patroni with etcd, and HAProxy in front of it and of the
nodes, with the very files of `deploy/`. On free ports of this machine, as an ordinary user, in a
temporary folder, and gone with the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from helpers import free_port, until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PASSWORDS = {"SUPERUSER": ("postgres", "a-password-of-the-superuser"), "REPLICATION": ("replicator", "a-password-of-standbys")}
APP = ("countersign", "a-password-of-the-application")


def missing() -> list[str]:
    """Which programs are not here."""
    return [name for name in ("etcd", "patroni", "haproxy") if not which(name)] + ([] if programs() else ["postgresql"])


def which(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


def programs() -> Path | None:
    """Where PostgreSQL's programs are, newest first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def as_its_user() -> list[str]:
    """PostgreSQL refuses to run as root: then all of it runs as the user that its package has made."""
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []


def own(folder: Path) -> Path:
    """A new folder that PostgreSQL's user may write and reach."""
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents:
            if parent.stat().st_mode & 0o011 != 0o011 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    return folder


class Service:
    """One program of the cluster. It leads a group of its own, so that its children end with it."""

    def __init__(self, folder: Path, name: str, *args: str | Path, env: dict[str, str] | None = None) -> None:
        self.name, self.args, self.env, self.log = name, [str(a) for a in args], env or {}, folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        clean = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR")} | {"HOME": str(self.log.parent)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [*as_its_user(), which(self.args[0]) or self.args[0], *self.args[1:]],
                env=clean | self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.log.parent,
            )

    def kill(self, how: int = signal.SIGKILL) -> None:
        """The whole group, as if its machine had lost its power."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, how)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                # Nothing is left behind; that it does not end when it is told to is not what is tested.
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(timeout=30)

    def said(self) -> str:
        return f"--- {self.name}\n{self.log.read_text(errors='replace')[-6000:]}" if self.log.exists() else ""


class Member(Service):
    """One database node: Patroni, and the PostgreSQL that it looks after."""

    def __init__(self, folder: Path, name: str, etcd: int) -> None:
        self.port, self.api = free_port(), free_port()
        self.data = folder / f"{name}-data"
        env = {
            "PATRONI_NAME": name, "PATRONI_ETCD3_HOSTS": f"127.0.0.1:{etcd}",
            "PATRONI_RESTAPI_LISTEN": f"127.0.0.1:{self.api}", "PATRONI_RESTAPI_CONNECT_ADDRESS": f"127.0.0.1:{self.api}",
            "PATRONI_POSTGRESQL_LISTEN": f"127.0.0.1:{self.port}", "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"127.0.0.1:{self.port}",
            "PATRONI_POSTGRESQL_DATA_DIR": str(self.data), "PATRONI_POSTGRESQL_BIN_DIR": str(programs()),
            "PATRONI_POSTGRESQL_PGPASS": str(folder / f"{name}.pgpass"),
        }
        for role, (user, password) in PASSWORDS.items():
            env |= {f"PATRONI_{role}_USERNAME": user, f"PATRONI_{role}_PASSWORD": password}
        super().__init__(folder, name, "patroni", DEPLOY / "patroni.yml", env=env)
        self.sockets = folder

    def status(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/patroni", timeout=2) as reply:  # noqa: S310
            return json.load(reply)

    def lost(self) -> None:
        """Its machine is gone: Patroni first, so that it starts nothing again, then the database."""
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        self.kill()
        for child in [pid, *descendants(pid)]:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until("the database is gone", lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text())
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def descendants(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in found]


class Cluster:
    """Three database nodes, one etcd, and HAProxy."""

    def __init__(self, folder: Path, web: list[int]) -> None:
        self.folder = own(folder)
        client, peer = free_port(), free_port()
        self.etcd = Service(
            folder, "etcd", "etcd", "--name", "one", "--data-dir", folder / "etcd-data", "--unsafe-no-fsync",
            "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"one=http://127.0.0.1:{peer}",
        )
        self.members = [Member(folder, f"db{n}", client) for n in (1, 2, 3)]
        self.web, self.database = free_port(), free_port()
        env = {"WEB": f"127.0.0.1:{self.web}", "DATABASE": f"127.0.0.1:{self.database}"}
        for n, port in enumerate(web, 1):
            env[f"APP{n}"] = f"127.0.0.1:{port}"
        for n, member in enumerate(self.members, 1):
            env |= {f"DB{n}": f"127.0.0.1:{member.port}", f"DB{n}_API": str(member.api)}
        self.haproxy = Service(folder, "haproxy", "haproxy", "-db", "-f", DEPLOY / "haproxy.cfg", env=env)
        self.services = [self.etcd, *self.members, self.haproxy]

    def start(self) -> None:
        self.etcd.start()
        for member in self.members:
            member.start()
        self.haproxy.start()
        until("a primary with a synchronous standby", lambda: self.primary() and self.synchronous(), seconds=120)
        user, password = APP
        self.psql(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
        self.psql(f"CREATE DATABASE countersign OWNER {user}")

    def psql(self, statement: str) -> str:
        user, password = PASSWORDS["SUPERUSER"]
        bin = programs()
        assert bin
        done = subprocess.run(
            [bin / "psql", "-qAt", "-h", "127.0.0.1", "-p", str(self.database), "-U", user, "-d", "postgres", "-c", statement],
            env={"PGPASSWORD": password, "PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=30, check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def seen(self) -> list[tuple[Member, dict]]:
        out = []
        for member in self.members:
            if member.process and member.process.poll() is None:
                try:
                    out.append((member, member.status()))
                except (OSError, ValueError):
                    continue
        return out

    def primary(self) -> Member | None:
        found = [member for member, it in self.seen() if it.get("role") in ("master", "primary") and it.get("state") == "running"]
        return found[0] if len(found) == 1 else None

    def synchronous(self) -> bool:
        """Whether a standby that runs may take over: as etcd has it, since what the standby itself says may
        be some seconds old."""
        primary = self.primary()
        if not primary:
            return False
        with urllib.request.urlopen(f"http://127.0.0.1:{primary.api}/cluster", timeout=2) as reply:  # noqa: S310
            meant = {it["name"] for it in json.load(reply)["members"] if it["role"] == "sync_standby"}
        return any(member.name in meant and it.get("sync_standby") and it.get("state") in ("running", "streaming") for member, it in self.seen())

    def standbys(self) -> int:
        return sum(1 for _, it in self.seen() if it.get("role") == "replica" and it.get("state") in ("running", "streaming"))

    def hosts(self) -> str:
        """As a node names them all: it finds the primary by itself."""
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"postgres://{APP[0]}@{hosts}/countersign?target_session_attrs=read-write"

    def through_haproxy(self) -> str:
        return f"postgres://{APP[0]}@127.0.0.1:{self.database}/countersign"

    def close(self) -> None:
        for service in (self.haproxy, *self.members):
            service.kill(signal.SIGTERM)
        self.etcd.kill(signal.SIGTERM)
        deadline = time.monotonic() + 5
        for member in self.members:
            pid_file = member.data / "postmaster.pid"
            if pid_file.exists() and time.monotonic() < deadline:
                member.lost()
