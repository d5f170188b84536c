"""Countersign as a telephone of somebody else's PBX: a real Asterisk registers it, challenges it, and is challenged by it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from asterisk import Asterisk, missing
from helpers import free_port, until
from installation import World
from terminal import Terminal

MAYA = "+12025550171"
TRUNK, DOOR = "what-the-pbx-asks-of-us", "what-we-ask-of-the-pbx"


class Pbx(Asterisk):
    """One that knows us by a password, and connects whoever calls it with us."""

    def configure(self) -> None:
        super().configure()
        modules = ["app_dial", "res_pjsip_endpoint_identifier_user", "res_pjsip_outbound_authenticator_digest", "res_pjsip_registrar"]
        with (self.folder / "modules.conf").open("a") as file:
            file.writelines(f"load={module}.so\n" for module in modules)
        with (self.folder / "pjsip.conf").open("a") as file:
            file.write(f"""[global]
type=global
endpoint_identifier_order=username,ip
[us]
type=endpoint
context=nowhere
transport=loop
disallow=all
allow=alaw
direct_media=no
auth=ours
outbound_auth=theirs
aors=us
[us]
type=aor
max_contacts=1
remove_existing=yes
[ours]
type=auth
auth_type=userpass
username=us
password={TRUNK}
[theirs]
type=auth
auth_type=userpass
username=pbx
password={DOOR}
""")

    def knows_us(self) -> bool:
        return self.ari("GET", "/endpoints/PJSIP/us")["state"] == "online"


@pytest.fixture
def pbx() -> Iterator[Pbx]:
    why = missing()
    if why:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    it = Pbx(dialplan="[from-outside]\nexten => _+X.,1,Dial(PJSIP/us,20)\n same => n,Hangup()\n")
    try:
        it.start()
        yield it
    finally:
        it.close()


def our_telephone(pbx: Pbx, folder: Path, password: str) -> World:
    """Registered at the PBX. Nobody calls us without a name and a password either."""
    folder.mkdir()
    ours, users = folder / "trunk.password", folder / "users"
    ours.write_text(f"{password}\n")
    users.write_text(f"pbx {DOOR}\n")
    for file in (ours, users):
        file.chmod(0o600)
    return World(folder / "installation", f"""
[sip]
listen = "127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
national = "+1"
[sip.trunk]
registrar = "sip:{pbx.address}"
user = "us"
password_file = "{ours}"
[sip.users]
realm = "calls.example.com"
file = "{users}"
""")


def test_a_pbx_registers_us_and_its_calls_come(pbx: Pbx, tmp_path: Path) -> None:
    world = our_telephone(pbx, tmp_path / "one", TRUNK)
    maya = None
    try:
        until("the PBX knows us", pbx.knows_us)
        texts = len(world.twilio.texts(MAYA))
        maya = Terminal(f"sip:+18005551212@{pbx.address}", MAYA)
        code = until("a code is texted", lambda: [found for text in world.twilio.texts(MAYA)[texts:] for found in re.findall(r"code (\d{6})\.", text["Body"])])
        maya.key(f"{code[0]}#")
        until("she has proved it", lambda: '"type":"proved"' in world.installation.run("audit", "export").stdout)
        maya.key("")
        maya.over()
        # Whoever stops says so: no more calls come.
        world.server.stop()
        until("the PBX knows us no more", lambda: not pbx.knows_us())
    finally:
        if maya:
            maya.close()
        print(world.said(), pbx.said())
        world.close()


def test_a_pbx_with_another_password_does_not(pbx: Pbx, tmp_path: Path) -> None:
    world = our_telephone(pbx, tmp_path / "two", "something else")
    try:
        until("it is told", lambda: "the trunk does not register us" in world.said())
        assert not pbx.knows_us()
        assert TRUNK not in world.said() and "something else" not in world.said()
    finally:
        world.close()
