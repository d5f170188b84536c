"""Speakers that do not exist, for check.py: python toys.py FOLDER [--seed 0] [--speakers 14] [--recordings 5]

A buzz through the resonances of a throat, from a seed, without any recording or voice of anybody. A
speaker has a pitch, a length of the throat and a tilt; what is said is vowels and hisses at random.
FOLDER gets WAV files of 16,000 samples a second and `list.csv`. Good for finding out whether the tool
works, and for nothing else.
"""

import common

import argparse
import csv
import pathlib

import numpy as np
import soundfile
from scipy.signal import lfilter

RATE = 16_000
# The first three resonances of vowels, in Hz.
VOWELS = np.array([[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]])
WIDTHS = [80, 100, 140]


def resonance(sound: np.ndarray, hertz: float, width: float) -> np.ndarray:
    radius = np.exp(-np.pi * width / RATE)
    turn = 2 * np.pi * hertz / RATE
    return lfilter([1 - radius], [1, -2 * radius * np.cos(turn), radius**2], sound)


def spoken(random: np.random.Generator, pitch: float, throat: float, tilt: float, seconds: float) -> np.ndarray:
    parts = []
    while sum(map(len, parts)) < seconds * RATE:
        length = int(random.uniform(0.09, 0.22) * RATE)
        if random.random() < 0.25:
            hiss = random.normal(0, 0.05, length)
            parts.append(resonance(hiss, random.uniform(2500, 5000) * throat, 900))
            continue
        wander = pitch * (1 + 0.1 * np.sin(np.linspace(0, np.pi, length)) * random.uniform(-1, 1))
        phase = np.cumsum(wander / RATE)
        source = np.diff(np.floor(phase), prepend=0) + random.normal(0, 0.003, length)
        sound = lfilter([1], [1, -tilt], source)
        for hertz, width in zip(VOWELS[random.integers(len(VOWELS))], WIDTHS):
            sound = resonance(sound, hertz * throat * random.uniform(0.97, 1.03), width)
        parts.append(sound * np.hanning(length) / (np.abs(sound).max() + 1e-9))
    sound = np.concatenate(parts)
    return 0.5 * sound / np.abs(sound).max()


def make(folder: pathlib.Path, seed: int = 0, speakers: int = 14, recordings: int = 5) -> pathlib.Path:
    """The list."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for speaker in range(speakers):
        throat = random.uniform(0.85, 1.2)
        pitch, tilt = 80 * throat**2 * random.uniform(1, 2), random.uniform(0.85, 0.97)
        for take in range(recordings):
            name = f"s{speaker:02}-{take}.wav"
            sound = spoken(random, pitch, throat, tilt, random.uniform(1.7, 2.4))
            soundfile.write(folder / name, sound, RATE, subtype="PCM_16")
            rows.append((name, f"s{speaker:02}"))
    with open(folder / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "speaker"), *rows])
    return folder / "list.csv"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--speakers", type=int, default=14)
    arguments.add_argument("--recordings", type=int, default=5)
    given = arguments.parse_args()
    print(make(given.folder, given.seed, given.speakers, given.recordings))


if __name__ == "__main__":
    main()
