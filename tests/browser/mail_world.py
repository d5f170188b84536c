"""A mail server that keeps what it gets: just enough of SMTP (RFC 5321) for one client."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage

from helpers import until


class FakeMail:
    """Takes everything, delivers nothing."""

    def __init__(self) -> None:
        self.inbox: list[tuple[str, EmailMessage]] = []
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

            def handle(self) -> None:
                to = ""
                self.say("220 mail.test ready")
                while line := self.rfile.readline().decode(errors="replace").strip():
                    verb = line.split(":")[0].split(" ")[0].upper()
                    if verb == "EHLO":
                        self.say("250-mail.test")
                        self.say("250 8BITMIME")
                    elif verb == "RCPT":
                        to = line.split("<", 1)[1].split(">", 1)[0]
                        self.say("250 known")
                    elif verb == "DATA":
                        self.say("354 go on")
                        body = b""
                        while (row := self.rfile.readline()) != b".\r\n":
                            body += row.removeprefix(b".") if row.startswith(b"..") else row
                        message = email.message_from_bytes(body, policy=email.policy.default)
                        assert isinstance(message, EmailMessage)
                        fake.inbox.append((to, message))
                        self.say("250 taken")
                    elif verb == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 fine")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def next(self, to: str, subject: str) -> str:
        """The text of the first mail with this in its subject."""
        found = until(f"a mail about {subject!r}", lambda: [m for who, m in list(self.inbox) if who == to and subject in str(m["Subject"])])
        return found[0].get_content()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)
