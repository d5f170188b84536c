"""What the models see of sound: the same numbers as crates/voice/src/frontend.rs.

Sound is mono at 8000 samples a second, as 32 bit floats from -1 to 1.
"""

import numpy as np
from scipy.fft import dct

RATE = 8000
FRAME = 200  # 25 ms
HOP = 80  # 10 ms
FFT = 256
MELS = 40
COEFFICIENTS = 19


def mel_triangles(count, low, high):
    """`count` triangles between two frequencies in Hz, on HTK's mel scale: [count, FFT / 2 + 1]."""
    to_mel = lambda hertz: 2595 * np.log10(1 + hertz / 700)
    points = 700 * (10 ** (np.linspace(to_mel(low), to_mel(high), count + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    left, middle, right = points[:-2, None], points[1:-1, None], points[2:, None]
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.clip(np.minimum(rising, falling), 0, None).astype(np.float32)


def powers(sound, window):
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float32), FRAME)[::HOP]
    return np.abs(np.fft.rfft(frames * window.astype(np.float32), FFT)) ** 2


HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
HAMMING = np.hamming(FRAME)
MEL_40 = mel_triangles(MELS, 120, 3700)
MEL_24 = mel_triangles(24, 250, 3500)


def log_mel(sound):
    """[frames, 40], before the mean of each band is removed."""
    return np.log(np.maximum(powers(sound, HANN) @ MEL_40.T, 1e-8)).astype(np.float32)


def cepstra(sound):
    """[loud frames, 38]: 19 coefficients and their slopes, mean 0 and variance 1."""
    emphasised = np.append(sound[0], sound[1:] - 0.97 * sound[:-1])
    power = powers(emphasised, HAMMING)
    plain = dct(np.log(power @ MEL_24.T + 1e-8), norm="ortho", axis=1)[:, 1 : COEFFICIENTS + 1]
    around = np.pad(plain, ((2, 2), (0, 0)), "edge")
    slopes = (around[3:-1] - around[1:-3] + 2 * (around[4:] - around[:-4])) / 10
    frames = np.hstack([plain, slopes])
    level = 10 * np.log10(power.sum(1) + 1e-10)
    loud = level > max(np.percentile(level, 95) - 25, np.percentile(level, 10) + 3)
    if loud.sum() > 20:
        frames = frames[loud]
    return ((frames - frames.mean(0)) / (frames.std(0) + 1e-6)).astype(np.float32)


def decode_mulaw(data):
    """G.711 mu-law bytes as sound."""
    byte = ~np.frombuffer(data, np.uint8)
    exponent, mantissa = (byte >> 4) & 7, (byte & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return (np.where(byte & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def encode_mulaw(sound):
    """Sound as G.711 mu-law bytes."""
    sample = np.clip(np.round(sound * 32767), -32768, 32767).astype(np.int32)
    biased = np.minimum(np.abs(sample), 32635) + 0x84
    exponent = np.clip(np.frexp(biased)[1] - 8, 0, 7)
    mantissa = (biased >> (exponent + 3)) & 15
    return (~(((sample < 0) << 7) | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8).tobytes()
