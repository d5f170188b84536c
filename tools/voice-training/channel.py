"""A telephone, drawn at random: handset, room, noise, babble, the line's filter and mu-law.

Every function takes a numpy random generator, so that a seed decides everything.
"""

import numpy as np
from scipy.signal import fftconvolve, firwin, firwin2

import frontend

LINE = firwin(161, [300, 3400], fs=frontend.RATE, pass_zero=False).astype(np.float32)
COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}


def decibels(ratio):
    return 10 ** (ratio / 20)


def line(sound, level):
    """Through the filter of a line at `level` dB of full scale, to mu-law and back."""
    sound = fftconvolve(sound, LINE, mode="same")
    sound = sound * decibels(level) / (np.sqrt(np.mean(sound**2)) + 1e-9)
    peak = np.abs(sound).max()
    if peak > 0.98:
        sound = sound * 0.98 / peak
    return frontend.decode_mulaw(frontend.encode_mulaw(sound))


def handset(random):
    """An equaliser that wanders by some 3 dB from band to band."""
    edges = np.array([0, 300, 700, 1300, 2000, 2700, 3400, 4000]) / 4000
    steps = np.clip(np.cumsum(random.normal(0, 2.7, 6)), -9, 9)
    return firwin2(65, edges, decibels(np.concatenate([[0], steps, [0]])))


def room(random):
    """An echo of 80 to 350 ms, quieter than the direct sound."""
    length = int(random.uniform(0.08, 0.35) * frontend.RATE)
    echo = random.normal(0, 1, length) * np.exp(-6.9 * np.arange(length) / length)
    echo *= random.uniform(0.15, 0.5) / np.sqrt(np.sum(echo**2))
    echo[0] = 1
    return echo


def noise(random, length):
    colour = COLOURS[random.choice(list(COLOURS))]
    spectrum = np.fft.rfft(random.normal(0, 1, length))
    bins = np.maximum(np.arange(len(spectrum)), 1)
    return fftconvolve(np.fft.irfft(spectrum / bins**colour, length), LINE, mode="same")


def mixed(sound, other, ratio):
    """`other` beside `sound`, `ratio` dB quieter."""
    power = lambda signal: np.mean(signal**2) + 1e-12
    return sound + other * np.sqrt(power(sound) / power(other)) / decibels(ratio)


def babble(random, length, pool):
    total = np.zeros(length)
    for _ in range(random.integers(3, 7)):
        voice = pool[random.integers(len(pool))]
        voice = np.resize(np.roll(voice, random.integers(len(voice))), length)
        total += voice / (np.std(voice) + 1e-4)
    return total


def call(random, sound, pool, clean):
    """One call: through nothing but the line if `clean`, otherwise from some place."""
    if clean:
        sound = sound + random.normal(0, 1e-4, len(sound))
    else:
        sound = fftconvolve(sound, handset(random), mode="same")
        if random.random() < 0.7:
            sound = fftconvolve(sound, room(random))[: len(sound)]
        sound = mixed(sound, noise(random, len(sound)), random.uniform(12, 28))
        if random.random() < 0.4:
            sound = mixed(sound, babble(random, len(sound), pool), random.uniform(10, 22))
    return line(sound, random.uniform(-34, -18))
