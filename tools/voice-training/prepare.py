"""Recordings to features: python prepare.py LIST.csv FOLDER [--seed 11] [--calls 3]

LIST.csv has the columns `path` and `speaker`; paths are relative to it, and name WAV or FLAC of any
rate. FOLDER gets `mel.npy` and `cepstra.npy` (frames of all calls, 16 bit floats) and `calls.npz`
(where each call begins, whose voice it is, and how fast).

Each recording is also taken at nine tenths and ten ninths of its speed. That shifts the voice, and
counts as another speaker.
"""

import argparse
import csv
import math
import pathlib

import numpy as np
import soundfile
from scipy.signal import resample_poly

import channel
import frontend

LONGEST = 8  # seconds
MOST_OF_ONE = 60  # recordings of a speaker
SPEEDS = [(1, 1), (10, 9), (9, 10)]


def read(path):
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    common = math.gcd(rate, frontend.RATE)
    sound = resample_poly(sound.mean(1), frontend.RATE // common, rate // common)
    return sound[: LONGEST * frontend.RATE].astype(np.float32)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("list", type=pathlib.Path)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--seed", type=int, default=11)
    arguments.add_argument("--calls", type=int, default=3, help="of each recording; the first is clean")
    given = arguments.parse_args()
    random = np.random.default_rng(given.seed)
    with open(given.list, newline="") as file:
        rows = sorted((row["speaker"], row["path"]) for row in csv.DictReader(file))
    names = sorted({speaker for speaker, _ in rows})
    count = dict.fromkeys(names, 0)
    recordings = []
    for speaker, path in rows:
        if count[speaker] < MOST_OF_ONE:
            count[speaker] += 1
            recordings.append((names.index(speaker), read(given.list.parent / path)))
    pool = [sound for _, sound in recordings]
    mel, cepstra, speakers, speeds = [], [], [], []
    for speaker, sound in recordings:
        for speed, (up, down) in enumerate(SPEEDS):
            faster = sound if up == down else resample_poly(sound, up, down)
            for number in range(given.calls):
                heard = channel.call(random, faster, pool, clean=number == 0)
                if len(heard) < frontend.FRAME:
                    continue
                mel.append(frontend.log_mel(heard).astype(np.float16))
                cepstra.append(frontend.cepstra(heard).astype(np.float16))
                speakers.append(speaker)
                speeds.append(speed)
    given.folder.mkdir(parents=True, exist_ok=True)
    np.save(given.folder / "mel.npy", np.concatenate(mel))
    np.save(given.folder / "cepstra.npy", np.concatenate(cepstra))
    begins = lambda parts: np.cumsum([0] + [len(part) for part in parts])
    np.savez(
        given.folder / "calls.npz",
        mel=begins(mel),
        cepstra=begins(cepstra),
        speaker=np.array(speakers),
        speed=np.array(speeds),
        names=np.array(names),
    )
    print(f"{len(names)} speakers, {len(recordings)} recordings, {len(mel)} calls, {sum(map(len, mel))} frames")


if __name__ == "__main__":
    main()
