"""What all steps share: one thread, whole files, progress, being stopped, and what a result depends on.

Has to be imported before numpy: sums on several threads are rounded otherwise than on one.
"""

import os

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[_threads] = "1"

import contextlib
import hashlib
import importlib.metadata
import json
import math
import pathlib
import platform
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

HERE = pathlib.Path(__file__).parent
# What a draw is for: so that no two steps draw the same numbers from one seed.
SPLIT, CALLS, POOL, TRAINING, MIXTURE, INTERVALS = range(6)
STOPPED = 130
# What chooses between kernels that round otherwise.
KERNELS = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
)


def sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A place to write to, which becomes `path` when all of it is written, and never half of it."""
    place = path.with_name(f".{path.name}.new")
    try:
        yield place
        with open(place, "rb") as file:
            os.fsync(file.fileno())
        os.replace(place, path)
    finally:
        place.unlink(missing_ok=True)


def read_json(path: pathlib.Path) -> Any:
    """What is in a file of JSON; `None` without the file."""
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def write_json(path: pathlib.Path, value: Any) -> None:
    """JSON for people: what lies deeper than two levels is on one line."""
    short = lambda inner: json.dumps(inner, ensure_ascii=False)
    lines = []
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            members = ",\n".join(f"  {short(key)}: {short(member)}" for key, member in inner.items())
            lines.append(f" {short(name)}: {{\n{members}\n }}")
        else:
            lines.append(f" {short(name)}: {short(inner)}")
    with whole(path) as place:
        place.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


_asked_to_stop = False


def heed_signals() -> None:
    """Ctrl-C and SIGTERM let a step keep what it has. The second time it ends at once."""

    def ask(number: int, _frame: object) -> None:
        global _asked_to_stop
        if _asked_to_stop:
            raise KeyboardInterrupt
        _asked_to_stop = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)


def asked_to_stop() -> bool:
    return _asked_to_stop


def stopped(what: str) -> SystemExit:
    print(f"stopped: {what}; the same command goes on from there", flush=True)
    return SystemExit(STOPPED)


class Progress:
    """Lines like `training 300/6000, 0:41:10 left`: often at first, then less so."""

    def __init__(self, what: str, total: int, done: int = 0):
        self.what, self.total, self.first = what, total, done
        self.began = time.monotonic()
        self.said = -math.inf
        if done:
            print(f"{what}: goes on at {done} of {total}", flush=True)

    def at(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        if done < self.total and now - self.said < max(1, (now - self.began) / 30):
            return
        self.said = now
        seconds = round((now - self.began) / max(1, done - self.first) * (self.total - done))
        left = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"
        print(f"{self.what} {done}/{self.total}{note}, {left if done < self.total else 'done'}", flush=True)


def versions() -> dict[str, str]:
    """Exact versions of everything that computes: what requirements.in names."""
    named = re.findall(r"^([\w-]+)==", (HERE / "requirements.in").read_text("utf-8"), re.MULTILINE)
    try:
        found = {name: importlib.metadata.version(name) for name in named}
    except importlib.metadata.PackageNotFoundError as error:
        raise SystemExit(f"{error.name} is not installed: pip install -r requirements.txt") from None
    return {"python": platform.python_version()} | found


def processor() -> dict[str, Any]:
    """What decides how sums are rounded, apart from versions."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    chosen = {name: os.environ[name] for name in KERNELS if name in os.environ}
    return {"system": platform.system(), "architecture": platform.machine(), "model": model, "kernels": chosen}


def tool() -> dict[str, str]:
    """SHA-256 of the scripts that make a result."""
    apart = ("check.py", "toys.py", "reference.py", "pin.py")
    return {path.name: sha256(path) for path in sorted(HERE.glob("*.py")) if path.name not in apart}


def key(**parts: Any) -> dict[str, Any]:
    """All that a result depends on. Two results with the same key are the same to the bit."""
    # Through JSON, so that it equals what is read back.
    return json.loads(json.dumps(parts | {"versions": versions(), "processor": processor(), "tool": tool()}))


def same(found: dict[str, Any], wanted: dict[str, Any], folder: pathlib.Path) -> None:
    """Nothing is gone on with, or taken as done, that another list, setting or version has made."""
    other = []
    for name, value in wanted.items():
        was = found.get(name)
        if was != value and isinstance(value, dict) and isinstance(was, dict):
            other += [f"{name} ({part})" for part in sorted(value | was) if was.get(part) != value.get(part)]
        elif was != value:
            other.append(name)
    if other:
        raise SystemExit(f"{folder} holds the work of another run: other {', '.join(other)}. Name another folder.")
