"""The company's OpenID provider as a process of its own (tests/provider), and a server that knows it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import free_port, until
from installation import CUSTOMERS, Installation, Server
from mail_world import FakeMail
from twilio_world import FakeTwilio

SECRET = "a secret of these tests, 32 chars"
HERE = Path(__file__).parent.parent / "provider"


def modules() -> Path:
    """Where the provider's library is: `cargo xtask test` installs it outside of the repository."""
    named = os.environ.get("COUNTERSIGN_PROVIDER_PACKAGES")
    if not named or not shutil.which("node"):
        needed = os.environ.get("CI") == "true" or os.environ.get("COUNTERSIGN_REQUIRE_BROWSER") == "1"
        (pytest.fail if needed else pytest.skip)("the OpenID provider is not installed: `cargo xtask test` does it")
    return Path(str(named))


class Provider:
    """node-oidc-provider, and the control by which a test plays the customer's device."""

    def __init__(self, folder: Path, redirect: str) -> None:
        # Modules are looked for beside the script, so it runs as a copy of itself there.
        script = folder / "provider.mjs"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "provider.mjs", script)
        (folder / "node_modules").symlink_to(modules() / "node_modules")
        self.out = folder / "stdout.txt"
        with self.out.open("wb") as out, (folder / "stderr.txt").open("wb") as err:
            self.process = subprocess.Popen(  # noqa: S603
                ["node", str(script)], cwd=folder, env=os.environ | {"REDIRECT_URI": redirect, "CLIENT_SECRET": SECRET}, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )
        line = until("the provider is ready", lambda: re.search(r'^\{"issuer".*\}$', self.out.read_text(), re.M), seconds=60)[0]
        ready = json.loads(line)
        self.issuer, self.control = ready["issuer"], ready["control"]

    def tell(self, path: str, **wish: object) -> dict[str, object]:
        request = urllib.request.Request(f"{self.control}{path}", json.dumps(wish).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    def asked(self, n: int = 1) -> dict[str, str]:
        """The n-th question that the customer's device shows."""
        return until("a question at the provider", lambda: self.tell("/state")["asked"][n - 1 : n])[0]

    def moods(self, **wish: object) -> dict[str, int]:
        return self.tell("/moods", **wish)["moods"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


class World:
    """A provider, and an installation whose customers sign in there and are asked there."""

    def __init__(self, folder: Path, ask: bool = True, more: str = "") -> None:
        port = free_port()
        self.public = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.provider = Provider(folder / "provider", f"{self.public}/me/sign-in/callback")
        self.twilio, self.mail = FakeTwilio(), FakeMail()
        self.installation = Installation(folder / "world", self.twilio.url, self.mail.port)
        secret = folder / "world" / "keys" / "client.secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        config = self.installation.config
        text = re.sub(r'address = ".*"\npublic_url = ".*"', f'address = "127.0.0.1:{port}"\npublic_url = "{self.public}"', config.read_text())
        at = f'issuer = "{self.provider.issuer}"\nclient_id = "countersign"\nclient_secret_file = "{secret}"\n'
        text += f'\n[sign_in]\n{at}name = "Hearth & Home"\nclaim = "customer_number"\n' + (f"\n[provider]\n{at}{more}\n" if ask else "")
        config.write_text(text)
        self.totp = self.installation.add_agent("robin", "agent", "correct horse battery")
        done = self.installation.run("import", self.installation.customers(CUSTOMERS))
        assert done.returncode == 0, done.stderr
        self.runs = 0
        self.start()

    def start(self) -> None:
        self.runs += 1
        self.server = Server(self.installation, self.runs)

    def move(self) -> None:
        """The company changes to another provider, at which everybody has the name they had."""
        old = self.provider
        self.provider = Provider(self.folder / "another", f"{self.public}/me/sign-in/callback")
        old.stop()
        config = self.installation.config
        config.write_text(config.read_text().replace(old.issuer, self.provider.issuer))
        self.server.stop()
        self.start()

    def close(self) -> None:
        self.server.stop()
        self.provider.stop()
        self.twilio.close()
        self.mail.close()


def run(folder: Path, **options: object) -> Iterator[World]:
    world = World(folder, **options)  # type: ignore[arg-type]
    yield world
    world.close()
