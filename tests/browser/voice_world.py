"""Voices that are nobody's, as files that a telephone can say: the synthesised recordings of
crates/voice/tests/data, made over so that no two takes are alike."""

from __future__ import annotations

import math
import random
import struct
import wave
from pathlib import Path

DATA = Path(__file__).parents[2] / "crates" / "voice" / "tests" / "data"
NAMES = ["rms-0", "kal-0", "espeak-0"]
SPEEDS = [1.0, 0.86, 1.17, 0.93]


def mulaw(byte: int) -> float:
    """G.711 mu-law, -1 to 1."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 0x07)) - 0x84
    return (-magnitude if byte & 0x80 else magnitude) / 32768


def recording(name: str) -> list[float]:
    return [mulaw(byte) for byte in (DATA / f"{name}.ul").read_bytes()]


def at(sound: list[float], place: float) -> float:
    before = min(max(int(place), 0), len(sound) - 2)
    part = min(max(place - before, 0.0), 1.0)
    return sound[before] * (1 - part) + sound[before + 1] * part


def person(number: int) -> list[float]:
    """One of the recordings with another throat: twelve people."""
    sound, by = recording(NAMES[number % 3]), SPEEDS[number // 3 % 4]
    return [at(sound, n / by) for n in range(int((len(sound) - 1) * by))]


def again(sound: list[float], seed: int) -> list[float]:
    """The same words once more: faster or slower, here and there held, another line, some noise."""
    dice = random.Random(seed)  # noqa: S311
    length = int(len(sound) * dice.uniform(0.93, 1.07))
    held, times, begin = dice.uniform(150, 300), dice.uniform(1, 2.5), dice.random()
    made = []
    for n in range(length):
        share = n / length
        made.append(at(sound, share * (len(sound) - 2) + held * math.sin(share * math.pi) * math.sin(2 * math.pi * (share * times + begin))))
    tilt = dice.uniform(-0.4, 0.4)
    made = [sample + tilt * before for sample, before in zip(made, [0.0, *made])]
    level = math.sqrt(sum(s * s for s in made) / length)
    noise = level * 10 ** (-dice.uniform(19, 24) / 20)
    return [(sample + noise * dice.gauss(0, 1)) * 0.08 / level for sample in made]


def said(digits: list[int], seed: int) -> list[float]:
    """These digits, each by one of ten words that are pieces of a synthesised voice, with pauses."""
    dice = random.Random(seed)  # noqa: S311
    sounds = [recording("rms-0"), recording("rms-1")]
    made: list[float] = []
    for digit in digits:
        begin = 3000 + digit // 2 * 3000 + dice.uniform(0, 80)
        length = int(2600 * dice.uniform(0.92, 1.08))
        word = (at(sounds[digit % 2], begin + n * 2600 / length) for n in range(length))
        made += [min(n, length - n, 200) / 200 * sample for n, sample in enumerate(word)]
        made += [0.0] * int(dice.uniform(900, 1300))
    return [sample + 0.0008 * dice.gauss(0, 1) for sample in made]


def write(path: Path, sound: list[float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{len(sound)}h", *(int(max(-1.0, min(1.0, s)) * 32767) for s in sound)))
    return path


def people(folder: Path, calls: int = 6) -> Path:
    """Labelled calls of twelve people who say the same phrase."""
    for number in range(12):
        voice = person(number)
        for call in range(calls):
            write(folder / f"person-{number:02}" / "digits" / f"{call}.wav", again(voice, 1000 + number * 50 + call))
    return folder
