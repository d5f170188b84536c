"""Recordings to features: python prepare.py LIST.csv FOLDER [--seed 0] [--calls 3] [--held-out NAME,NAME]

LIST.csv has the columns `path` and `speaker`, and perhaps `set` (`train` or `held-out`); paths are
relative to it, and name WAV or FLAC of any rate, or G.711 without a header (`.ul`, `.al`). FOLDER gets
`mel.f16` and `cepstra.f16` (frames of all calls, 16 bit floats), `calls.npz` (where each call begins,
whose voice it is, and how fast) and `features.json` (what they were made of, and their SHA-256).

Each recording to train on is also taken at nine tenths and ten ninths of its speed. That shifts the
voice, and counts as another speaker. Of each that is held out there are two calls, a clean and a rough.
"""

import common

import argparse
import json
import os
import pathlib
import time
from typing import Any

import numpy as np
from scipy.signal import resample_poly

import channel
import corpus as corpora
import frontend

SPEEDS = [(1, 1), (10, 9), (9, 10)]
POOL = 200  # recordings that babble is made of
KEEP_EVERY = 20  # seconds
WIDTHS = {"mel": frontend.MELS, "cepstra": 2 * frontend.COEFFICIENTS}
LABELS = ("speaker", "recording", "speed", "number")


class Calls:
    """Features of all calls, appended to files. What was kept is gone on with, the rest is cut off."""

    def __init__(self, folder: pathlib.Path, key: dict[str, Any]):
        self.folder, self.key, self.done = folder, key, 0
        self.columns: dict[str, list[int]] = {name: [] for name in (*WIDTHS, *LABELS)}
        if (folder / "unfinished.npz").exists():
            with np.load(folder / "unfinished.npz") as kept:
                common.same(json.loads(str(kept["key"])), key, folder)
                self.done = int(kept["done"])
                self.columns = {name: kept[name].tolist() for name in self.columns}
        self.files = {}
        for name, width in WIDTHS.items():
            file = self.files[name] = open(folder / f"{name}.f16", "ab")
            size = 2 * width * sum(self.columns[name])
            if file.tell() < size:
                raise SystemExit(f"{file.name} is shorter than it was: delete {folder} and begin again")
            file.truncate(size)
        self.kept = time.monotonic()

    def add(self, sound: np.ndarray, **labels: int) -> None:
        for name, features in (("mel", frontend.log_mel), ("cepstra", frontend.cepstra)):
            frames = features(sound)
            if not np.isfinite(frames).all():
                raise SystemExit(f"features that are no numbers, of recording {labels['recording']}")
            self.files[name].write(frames.astype("<f2").tobytes())
            self.columns[name].append(len(frames))
        for name, value in labels.items():
            self.columns[name].append(value)

    def keep(self) -> None:
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        with common.whole(self.folder / "unfinished.npz") as place, open(place, "wb") as file:
            np.savez(file, key=json.dumps(self.key), done=self.done, **self.columns)
        self.kept = time.monotonic()

    def finish(self, **more: Any) -> dict[str, Any]:
        self.keep()
        for file in self.files.values():
            file.close()
        begins = {name: np.cumsum([0, *self.columns[name]], dtype=np.int64) for name in WIDTHS}
        labels = {name: np.array(self.columns[name], np.int64) for name in LABELS}
        with common.whole(self.folder / "calls.npz") as place, open(place, "wb") as file:
            np.savez(file, **begins, **labels, **more)
        names = [*(f"{name}.f16" for name in WIDTHS), "calls.npz"]
        made = {"key": self.key, "files": {name: common.sha256(self.folder / name) for name in names}}
        common.write_json(self.folder / "features.json", made)
        (self.folder / "unfinished.npz").unlink()
        return made


def prepare(corpus: corpora.Corpus, folder: pathlib.Path, seed: int, calls: int) -> dict[str, Any]:
    """What is in `features.json` afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    key = common.key(recordings=corpus.digest(), seed=seed, calls=calls)
    finished = common.read_json(folder / "features.json")
    if finished:
        common.same(finished["key"], key, folder)
        return finished
    made = Calls(folder, key)
    names = sorted([*corpus.trained, *corpus.held_out])
    # Babble is made of those who are trained on: nobody who is measured is heard in training.
    able = [recording for recording in corpus.recordings if recording.speaker not in corpus.held_out]
    drawn = np.random.default_rng([seed, common.POOL]).permutation(len(able))[:POOL]
    pool = [corpus.read(able[number]) for number in drawn]
    progress = common.Progress("features of recordings", len(corpus.recordings), made.done)
    for number, recording in enumerate(corpus.recordings[made.done :], made.done):
        if common.asked_to_stop():
            made.keep()
            raise common.stopped(f"features of {number} recordings are kept")
        held_out = recording.speaker in corpus.held_out
        # From the recording itself: another one more or less in the list does not change its calls.
        random = np.random.default_rng([seed, common.CALLS, int(recording.sha256[:16], 16)])
        sound = corpus.read(recording)
        for speed, (up, down) in enumerate(SPEEDS[:1] if held_out else SPEEDS):
            faster = sound if up == down else resample_poly(sound, up, down)
            for call in range(2 if held_out else calls):
                heard = channel.call(random, faster, pool, clean=call == 0)
                made.add(heard, speaker=names.index(recording.speaker), recording=number, speed=speed, number=call)
        made.done = number + 1
        if time.monotonic() - made.kept > KEEP_EVERY:
            made.keep()
        progress.at(made.done)
    return made.finish(names=np.array(names), held_out=np.array([name in corpus.held_out for name in names]))


def arguments(parser: argparse.ArgumentParser) -> None:
    """What run.py asks for as well."""
    parser.add_argument("list", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=3, help="of each recording; the first is clean")
    parser.add_argument("--held-out", default="", metavar="NAME,NAME", help="whom to measure with")
    parser.add_argument("--share", type=float, default=0.2, help="of the speakers to hold out where none is named")


def corpus(given: argparse.Namespace) -> corpora.Corpus:
    if given.seed < 0 or given.calls < 1 or not 0 < given.share < 1:
        raise SystemExit("--seed is 0 or more, --calls 1 or more, --share between 0 and 1")
    return corpora.load(given.list, [name for name in given.held_out.split(",") if name], given.share, given.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    given = parser.parse_args()
    common.heed_signals()
    made = prepare(corpus(given), given.folder, given.seed, given.calls)
    print(*(f"{sha256} {name}" for name, sha256 in made["files"].items()), sep="\n")


if __name__ == "__main__":
    main()
