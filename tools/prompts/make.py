"""Speaks the script of the prompts with SVOX Pico: one WAV file of 16 kHz for each line.

`countersign prompts script --json` gives the lines on standard input; what a manifest has that is named
behind the folder is left out. See README.md.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import wave
from array import array
from pathlib import Path

from py_nanotts import NanoTTS

VOICES = {"en": "en-US", "es": "es-ES", "de": "de-DE"}
# What the voice would read otherwise than it is meant. Whole words; the text of the recording stays.
SAID = {
    "en": {"&": "and", "PIN": "pin"},
    "es": {"&": "y", "PIN": "pin", "web": "ueb", "Juniper": "Yúniper"},
    "de": {"&": "und", "PIN": "Pin", "Website": "Webseit", "Co": "Ko", "App": "Äpp", "Passkey": "Pass-kie", "Juniper": "Dschuniper", "E-Mail": "Ih-Mehl"},
}
# The English voice is quicker than the others by itself.
SPEED = {"en": 1.0, "es": 1.05, "de": 1.05}


def spoken(lang: str, text: str) -> str:
    """What the voice is given: an open end is a comma, which keeps the pitch up."""
    if len(text) == 1:
        return text
    text = text.removeprefix("… ")
    if text.endswith(" …"):
        text = text.removesuffix(" …").rstrip(",:") + ","
    elif text[-1] not in ".?!":
        text += "."
    for word, said in SAID[lang].items():
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", said, text)
    return text


def without_afterthought(sound: bytes) -> bytes:
    """The voice sometimes breathes once more, very softly, after it has ended: that goes."""
    samples = array("h", sound)
    frames = [max((abs(s) for s in samples[at : at + 320]), default=0) for at in range(0, len(samples), 320)]
    last = max((n for n, height in enumerate(frames) if height > 330), default=len(frames) - 1)
    rest = frames[last:]
    # Ten frames of 20 ms without any sound: what follows is no part of a word.
    for n in range(len(rest) - 10):
        if max(rest[n : n + 10]) < 5:
            return samples[: (last + n) * 320].tobytes()
    return sound


def main() -> None:
    to = Path(sys.argv[1])
    there = tomllib.loads(Path(sys.argv[2]).read_text())["recordings"] if sys.argv[2:] else []
    known = {(recording["lang"], recording["text"]) for recording in there}
    voice = NanoTTS()
    for line in sys.stdin:
        wanted = json.loads(line)
        lang = wanted["lang"]
        if (lang, wanted["text"]) in known:
            continue
        sound = without_afterthought(voice.speak(spoken(lang, wanted["text"]), voice=VOICES[lang], speed=SPEED[lang]))
        path = to / lang / f"{wanted['id']}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(sound)


if __name__ == "__main__":
    main()
