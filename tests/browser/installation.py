"""An installation for real use: configuration, key, agents and customers, made with the program's
own commands."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pyotp
import pytest

from helpers import Http, Program, command, until
from mail_world import FakeMail
from twilio_world import ACCOUNT, OUR_NUMBER, TOKEN, Caller, FakeTwilio

PUBLIC = "https://calls.example.com"
AGENT_PHONE = "+12025550190"
PASSWORD = "correct horse battery"

CUSTOMERS = [
    {
        "account_number": "20008811", "name": "Maya Lindqvist", "date_of_birth": "1987-06-21", "address": "44 Orchard Road, Fairhaven",
        "postal_code": "02719", "language": "en", "mobile": "+12025550171", "email": "maya.lindqvist@example.com",
        "order_number": "900417", "order_what": "Walnut bookcase", "order_status": "packed", "pin": "6402",
    },
    {
        "account_number": "20008812", "name": "Tomasz Brandt", "date_of_birth": "1975-01-08", "address": "3 Quarry Hill, Stonebridge",
        "postal_code": "04609", "language": "de", "mobile": "+12025550172", "email": "t.brandt@example.org", "pin": "8153",
        "totp_key": "3132333435363738393031323334353637383930",
    },
]
# Whatever says who somebody is, or proves it: in no log, no event, no file of the record.
PERSONAL = [
    "Lindqvist", "Brandt", "Orchard Road", "Fairhaven", "Quarry Hill", "20008811", "20008812", "2025550171", "2025550172",
    "maya.lindqvist", "t.brandt", "1987-06-21", "1975-01-08", "bookcase", "900417", "6402", "8153", "02719", "04609",
    "31323334353637383930",
]


class Installation:
    """The folders of one installation, and the program run on them."""

    def __init__(self, folder: Path, twilio_url: str | None = None, mail_port: int | None = None, more: str = "", store: str | None = None, address: str = "127.0.0.1:0") -> None:
        self.folder = folder
        for name in ("etc", "keys", "data"):
            (folder / name).mkdir(parents=True)
        self.config, self.record = folder / "etc" / "countersign.toml", folder / "data" / "record.db"
        key, token = folder / "keys" / "countersign.key", folder / "keys" / "twilio.token"
        made = command("key", "new", key)
        assert made.returncode == 0, made.stderr
        assert key.stat().st_mode & 0o777 == 0o600 and re.fullmatch(r"[0-9a-f]{64}\s*", key.read_text()), "a fresh key that only its owner may read"
        token.write_text(f"{TOKEN}\n")
        token.chmod(0o600)
        mail = f'host = "127.0.0.1"\nport = {mail_port}' if mail_port else 'host = "mail.example.com"'
        base = f'base_url = "{twilio_url}"' if twilio_url else ""
        self.config.write_text(f"""
[company]
name = "Hearth & Home"
fraud_line = "+1 202 555 0100"

[listen]
address = "{address}"
public_url = "{PUBLIC}"

[store]
{store or f'path = "{self.record}"'}

[keys]
file = "{key}"

[twilio]
account_sid = "{ACCOUNT}"
auth_token_file = "{token}"
from = "{OUR_NUMBER}"
{base}
[twilio.agent_phones]
robin = "{AGENT_PHONE}"

[mail]
{mail}
from = "calls@example.com"
{more}""")

    def run(self, *args: str | Path, stdin: str | None = None):  # noqa: ANN201
        """One command with this configuration."""
        return command(*args, "--config", self.config, stdin=stdin)

    def customers(self, rows: Sequence[dict[str, str]], name: str = "customers.csv") -> Path:
        file = self.folder / name
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with file.open("w", newline="") as out:
            writer = csv.DictWriter(out, columns)
            writer.writeheader()
            writer.writerows(rows)
        return file

    def add_agent(self, name: str, role: str, password: str) -> pyotp.TOTP:
        added = self.run("agent", "add", name, "--role", role, stdin=f"{password}\n")
        assert added.returncode == 0, added.stderr
        assert password not in added.stdout + added.stderr
        return pyotp.TOTP(added.stdout.strip().splitlines()[-1])


class Server(Program):
    """`countersign serve`."""

    def __init__(self, installation: Installation, run: int, **env: str) -> None:
        super().__init__(installation.folder / f"run-{run}", "serve", "--config", installation.config, **env)
        started = self.wait_for(r'.*"message":"serving".*', self.err)
        self.fields = json.loads(started[0])["fields"]
        self.url = f"http://{self.fields['address']}"

    def call(self, number: str) -> Caller:
        return Caller(self.url, PUBLIC, number)


class World:
    """An installation with its server, which may be started again, and the Twilio that it knows."""

    def __init__(self, folder: Path, more: str = "", store: str | None = None, address: str = "127.0.0.1:0") -> None:
        self.twilio = FakeTwilio()
        self.mail = FakeMail()
        self.installation = Installation(folder, self.twilio.url, self.mail.port, more, store, address)
        self.totp = self.installation.add_agent("robin", "agent", PASSWORD)
        done = self.installation.run("import", self.installation.customers(CUSTOMERS))
        assert done.returncode == 0, done.stderr
        self.servers: list[Server] = []
        self.start()

    @property
    def server(self) -> Server:
        return self.servers[-1]

    def start(self, run: int | None = None, **env: str) -> Server:
        """One more. `run` names its folder where servers come and go."""
        self.servers.append(Server(self.installation, len(self.servers) + 1 if run is None else 100 + run, **env))
        return self.server

    def sign_in(self, server: Server | None = None, name: str = "robin", totp: pyotp.TOTP | None = None) -> Http:
        desk = Http((server or self.server).url)
        reply = desk.post("/desk/sign-in", {"name": name, "password": PASSWORD, "code": (totp or self.totp).now()})
        assert (reply.status, reply.location) == (303, "/desk"), reply
        cookie = reply.headers["set-cookie"]
        for flag in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/"]:
            assert flag in cookie, cookie
        return desk

    def moved_to_server(self, *things: Http | Caller) -> None:
        """After a restart on another port: the proxy in front of it knows."""
        for thing in things:
            if isinstance(thing, Http):
                thing.host = self.server.url.removeprefix("http://")
            else:
                thing.address = self.server.url

    def logged(self) -> int:
        """Waits until every event of now is in the Merkle log."""
        events = len(self.installation.run("audit", "export").stdout.splitlines())

        def done() -> bool:
            shown = re.search(r"(?m)^countersign_log_entries (\d+)$", Http(self.server.url).get("/metrics").text)
            return shown is not None and int(shown[1]) >= events

        until("every event is in the log", done, seconds=30)
        return events

    def said(self) -> str:
        """All that the servers ever wrote."""
        return "".join(server.said() for server in self.servers)

    def stored(self) -> bytes:
        """All that is on the disk of the record."""
        return b"".join(f.read_bytes() for f in sorted(self.installation.record.parent.iterdir()) if os.path.isfile(f))

    def close(self) -> None:
        for server in self.servers:
            server.stop()
        self.twilio.close()
        self.mail.close()


def refused(world: World) -> str:
    """What a start says that serves nothing."""
    with pytest.raises(AssertionError) as failed:
        Server(world.installation, 90)
    said = str(failed.value)
    assert "ended with 1" in said and "panicked" not in said, said
    return said


def put_back(world: World, backup: Path, place: Path | None = None) -> None:
    """An older backup in the place of the record, or in another place, as after a bad night."""
    record = place or world.installation.record
    for beside in ["-wal", "-shm"]:
        record.with_name(record.name + beside).unlink(missing_ok=True)
    record.write_bytes(backup.read_bytes())
