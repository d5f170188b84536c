"""`countersign call` with somebody at the keys."""

from __future__ import annotations

import subprocess
import threading

from helpers import binary, environment


class Terminal:
    """One call, and all that the terminal has shown."""

    def __init__(self, to: str, number: str, *more: str, **extra: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603
            [binary(), "call", to, "--from", number, *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment() | extra,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or []:
            self.lines.append(line)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def key(self, keys: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{keys}\n")
        self.process.stdin.flush()

    def over(self) -> str:
        self.process.wait(timeout=30)
        self.reader.join(timeout=5)
        return self.text

    def close(self) -> None:
        # Shown when a test fails.
        print(self.text)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)
