"""A browser's push service, and the browser behind it, made of libraries that are not ours:
`http-ece` opens what came, `cryptography` checks who sent it."""

from __future__ import annotations

import base64
import http.server
import json
import os
import threading
from dataclasses import dataclass

import http_ece
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature


def coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Knock:
    """One message at the push service."""

    path: str
    headers: dict[str, str]
    body: bytes


class PushService:
    """Takes messages for one browser, and answers as it is told."""

    def __init__(self) -> None:
        self.knocks: list[Knock] = []
        self.status = 201
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = os.urandom(16)
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.knocks.append(Knock(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(service.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.endpoint = f"{self.origin}/push/{coded(os.urandom(12))}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)

    def subscription(self) -> dict[str, object]:
        """As a browser's PushSubscription.toJSON() writes it."""
        point = self.key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": {"p256dh": coded(point), "auth": coded(self.auth)}}

    def open(self, knock: Knock) -> dict[str, object]:
        """What the browser reads (RFC 8291)."""
        assert knock.headers["content-encoding"] == "aes128gcm"
        return json.loads(http_ece.decrypt(knock.body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"))


def sender(knock: Knock) -> tuple[str, dict[str, object]]:
    """Key and claims of whoever sent it, if the signature holds (RFC 8292)."""
    scheme, _, rest = knock.headers["authorization"].partition(" ")
    assert scheme == "vapid"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    head, claims, mark = parts["t"].split(".")
    assert json.loads(plain(head)) == {"typ": "JWT", "alg": "ES256"}
    raw = plain(mark)
    assert len(raw) == 64
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), plain(parts["k"]))
    key.verify(signature, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    return parts["k"], json.loads(plain(claims))
