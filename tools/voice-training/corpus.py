"""A list of recordings: read, checked, and parted into those to train on and those to measure with."""

import common

import csv
import dataclasses
import hashlib
import io
import math
import pathlib

import numpy as np
import soundfile
from scipy.signal import resample_poly

import frontend

LONGEST, SHORTEST = 8.0, 1.5  # seconds: what is longer is cut, what is shorter not used
MOST_OF_ONE = 60  # recordings of a speaker
FEWEST_TRAINED, FEWEST_HELD_OUT = 8, 4  # speakers
ENROLLED = 3  # recordings of a held-out speaker that make the template; the others are tests
HIGHEST_RATE = 192_000
HEADERLESS = {".ul": "ULAW", ".al": "ALAW"}
SETS = {"train": False, "held-out": True}
MOST_PROBLEMS = 20


@dataclasses.dataclass(frozen=True)
class Recording:
    speaker: str
    path: str
    sha256: str
    seconds: float


@dataclasses.dataclass
class Corpus:
    folder: pathlib.Path
    sha256: str
    recordings: list[Recording]
    trained: list[str]
    held_out: list[str]
    chosen: str
    not_used: list[str]

    def read(self, recording: Recording) -> np.ndarray:
        data = (self.folder / recording.path).read_bytes()
        if hashlib.sha256(data).hexdigest() != recording.sha256:
            raise SystemExit(f"{recording.path} has changed while this was running")
        return decode(data, pathlib.Path(recording.path).suffix)

    def digest(self) -> str:
        """SHA-256 over everything that counts of the list."""
        lines = [f"{one.speaker}\t{one.sha256}\t{one.speaker in self.held_out}" for one in self.recordings]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def decode(data: bytes, suffix: str) -> np.ndarray:
    """Sound at 8000 samples a second; `ValueError` with a reason if it cannot be used."""
    form = {}
    if suffix.lower() in HEADERLESS:
        form = {"format": "RAW", "subtype": HEADERLESS[suffix.lower()], "channels": 1, "samplerate": frontend.RATE}
    try:
        with soundfile.SoundFile(io.BytesIO(data), **form) as file:
            rate = file.samplerate
            sound = file.read(int(LONGEST * rate), dtype="float32", always_2d=True).mean(1)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot be read as sound ({error.error_string.rstrip('.')})") from None
    if not frontend.RATE <= rate <= HIGHEST_RATE:
        raise ValueError(f"has {rate} samples a second; {frontend.RATE} to {HIGHEST_RATE} can be used")
    if not np.isfinite(sound).all():
        raise ValueError("has samples that are no numbers")
    if not len(sound):
        raise ValueError("is empty")
    if np.abs(sound).max() < 1e-4:
        raise ValueError("is silent")
    common_factor = math.gcd(rate, frontend.RATE)
    return resample_poly(sound, frontend.RATE // common_factor, rate // common_factor).astype(np.float32)


def rows(path: pathlib.Path) -> list[tuple[str, str, str]]:
    """(speaker, path, set) of each line, sorted; the set is empty where none is named."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"path", "speaker"} - set(reader.fieldnames or ())
            if missing:
                raise SystemExit(f"{path}: no column {' and no column '.join(sorted(missing))} in its first line")
            found = []
            for row in reader:
                speaker, name, part = ((row.get(column) or "").strip() for column in ("speaker", "path", "set"))
                if not speaker or not name:
                    raise SystemExit(f"{path}, line {reader.line_num}: no {'path' if speaker else 'speaker'}")
                if part and part not in SETS:
                    raise SystemExit(f"{path}, line {reader.line_num}: set `{part}` is neither train nor held-out")
                found.append((speaker, name, part))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f"{path} cannot be read: {error}") from None
    return sorted(found)


def checked(path: pathlib.Path, listed: list[tuple[str, str, str]]) -> tuple[list[Recording], list[str]]:
    """Reads everything once, so that nothing comes to light after hours."""
    recordings, not_used, problems, seen, count = [], [], [], {}, {}
    progress = common.Progress("checking recordings", len(listed))
    for done, (speaker, name, _) in enumerate(listed, 1):
        progress.at(done)
        if common.asked_to_stop():
            raise common.stopped("recordings were being checked")
        if count.get(speaker, 0) == MOST_OF_ONE:
            not_used.append(f"{name}: {speaker} has {MOST_OF_ONE} others")
            continue
        try:
            data = (path.parent / name).read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            if sha256 in seen:
                raise ValueError(f"is the same recording as {seen[sha256]}")
            seen[sha256] = f"{name} of {speaker}"
            seconds = len(decode(data, pathlib.Path(name).suffix)) / frontend.RATE
            if seconds < SHORTEST:
                not_used.append(f"{name}: {seconds:.2f} s, shorter than {SHORTEST} s")
                continue
            recordings.append(Recording(speaker, name, sha256, round(seconds, 3)))
            count[speaker] = count.get(speaker, 0) + 1
        except OSError as error:
            problems.append(f"{name} of {speaker}: {error.strerror}")
        except ValueError as error:
            problems.append(f"{name} of {speaker} {error}")
    if problems:
        more = [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        raise SystemExit("\n  ".join([f"{path}: mend these or take them out", *problems[:MOST_PROBLEMS], *more]))
    # By what they are and not by what they are called: then it does not matter where they lie.
    return sorted(recordings, key=lambda one: (one.speaker, one.sha256)), not_used


def parted(
    path: pathlib.Path,
    listed: list[tuple[str, str, str]],
    named: list[str],
    count: dict[str, int],
    share: float,
    seed: int,
) -> tuple[list[str], str]:
    """Who is held out, and who chose that. `count` is how many recordings of each can be used."""
    sets = {part: {speaker for speaker, _, of in listed if of == part} for part in SETS}
    both = sets["train"] & sets["held-out"]
    if both:
        raise SystemExit(f"{path}: both in train and in held-out: {', '.join(sorted(both))}")
    if named and sets["held-out"]:
        raise SystemExit(f"{path} has a column `set`, and --held-out is given: only one of them")
    unknown = set(named) - {speaker for speaker, _, _ in listed}
    if unknown:
        raise SystemExit(f"{path}: --held-out names nobody of the list: {', '.join(sorted(unknown))}")
    if sets["held-out"]:
        both = {speaker for speaker, _, of in listed if not of} & sets["held-out"]
        if both:
            raise SystemExit(f"{path}: held-out on some lines only: {', '.join(sorted(both))}")
        return sorted(sets["held-out"]), "named in the list"
    if named:
        return sorted(set(named)), "named by --held-out"
    able = sorted(speaker for speaker in count if count[speaker] > ENROLLED and speaker not in sets["train"])
    wanted = max(FEWEST_HELD_OUT, round(share * len(count)))
    drawn = np.random.default_rng([seed, common.SPLIT]).choice(able, min(wanted, len(able)), replace=False)
    return sorted(map(str, drawn)), "drawn with the seed"


def load(path: pathlib.Path, held_out: list[str], share: float, seed: int) -> Corpus:
    listed = rows(path)
    # What is wrong with names is said before all sound is read.
    parted(path, listed, held_out, {}, share, seed)
    recordings, not_used = checked(path, listed)
    count = {}
    for recording in recordings:
        count[recording.speaker] = count.get(recording.speaker, 0) + 1
    held_out, chosen = parted(path, listed, held_out, count, share, seed)
    few = [speaker for speaker in held_out if count.get(speaker, 0) <= ENROLLED]
    if few:
        raise SystemExit(f"{path}: to be held out takes {ENROLLED + 1} recordings, too few has {', '.join(few)}")
    trained = sorted(set(count) - set(held_out))
    for speakers, fewest, what in ((trained, FEWEST_TRAINED, "train on"), (held_out, FEWEST_HELD_OUT, "measure with")):
        if len(speakers) < fewest:
            raise SystemExit(f"{path}: {len(speakers)} speakers to {what}, it takes {fewest}")
    return Corpus(path.parent, common.sha256(path), recordings, trained, held_out, chosen, not_used)
