"""How well voices are told apart: python measure.py FEATURES NETWORK.onnx MIXTURE.bin

Prints as JSON what METHOD says, on the speakers that prepare.py held out.
"""

import common

import argparse
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

import corpus as corpora
import export
import frontend
import mixture as mixtures

TESTS = 10  # recordings of a speaker that are compared
MOST_SPEAKERS = 40  # with which the mixture is measured, as it is slow
REPETITIONS = 300
RELEVANCE = 8.0  # as in crates/voice/src/gmm.rs
PLACES = {"clean": 0, "rough": 1}
METHOD = (
    f"Speakers who were held out of everything. The first {corpora.ENROLLED} recordings of each, ordered by their "
    f"SHA-256, are the template, the next {TESTS} at most are tests, all of them clean calls or all rough ones. "
    "Each template is compared with each test of each speaker. Network: cosine between the test and the middle of "
    "the template's embeddings. Mixture: mean log-likelihood ratio of the means adapted with relevance "
    f"{RELEVANCE:.0f}, of the first {MOST_SPEAKERS} speakers at most. value: where false accepts and false refusals "
    "are equally many, on the line between the two nearest thresholds. low, high: the middle 95% of "
    f"{REPETITIONS} times drawing the speakers again; where nothing was wrong, high is at least three divided by the "
    "genuine trials."
)


def equal_error(scores: np.ndarray, genuine: np.ndarray, weights: np.ndarray) -> float:
    """Where both kinds of errors are equally many; `scores` ascend."""
    right, wrong = np.where(genuine, weights, 0), np.where(genuine, 0, weights)
    # Equal scores are on the same side of every threshold.
    last = np.append(scores[1:] > scores[:-1], True)
    refused = np.append(0, np.cumsum(right)[last] / right.sum())
    accepted = np.append(1, 1 - np.cumsum(wrong)[last] / wrong.sum())
    at = int(np.argmax(refused >= accepted))
    gap, next_gap = accepted[at - 1] - refused[at - 1], refused[at] - accepted[at]
    part = gap / (gap + next_gap)
    return float(accepted[at - 1] + part * (accepted[at] - accepted[at - 1]))


def with_interval(scores: np.ndarray, of: np.ndarray, seed: int) -> dict[str, Any]:
    """`scores` [templates, tests]; whose each test is."""
    templates = np.arange(len(scores))
    order = np.argsort(scores, axis=None, kind="stable")
    genuine = (templates[:, None] == of).ravel()[order]
    sorted_scores = scores.ravel()[order]

    def drawn(count: np.ndarray) -> float:
        weights = np.where(templates[:, None] == of, count[:, None], count[:, None] * count[of])
        return equal_error(sorted_scores, genuine, weights.ravel()[order].astype(np.float64))

    value = drawn(np.ones(len(scores), np.int64))
    random = np.random.default_rng([seed, common.INTERVALS])
    others = []
    while len(others) < REPETITIONS:
        count = np.bincount(random.integers(len(scores), size=len(scores)), minlength=len(scores))
        # Of one speaker alone there is nobody to be mistaken for.
        if np.count_nonzero(count) > 1:
            others.append(drawn(count))
    low, high = np.quantile(others, [0.025, 0.975])
    trials = int(genuine.sum())
    if value == 0:
        high = max(high, min(1.0, 3 / trials))
    figures = {"value": value, "low": low, "high": high}
    counts = {"genuine": trials, "impostors": int(len(genuine) - trials), "speakers": len(scores)}
    return {name: round(float(figure), 4) for name, figure in figures.items()} | counts


def network_scores(path: pathlib.Path, takes: list[list[np.ndarray]], tests: list[np.ndarray]) -> np.ndarray:
    run = export.session(path)

    def embed(frames: np.ndarray) -> np.ndarray:
        frames = frames.astype(np.float32)
        return run.run(None, {"feats": (frames - frames.mean(0))[None, : export.MOST_FRAMES]})[0][0]

    middles = np.array([np.mean([embed(take) for take in of], 0) for of in takes])
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    return middles @ np.array([embed(test) for test in tests]).T


def densities(frames: np.ndarray, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Logarithm of each component's density: [frames, components]."""
    logs = np.log(weights) - 0.5 * np.log(2 * np.pi * variances).sum(1)
    apart = frames**2 @ (1 / variances).T - 2 * frames @ (means / variances).T + (means**2 / variances).sum(1)
    return logs - 0.5 * apart


def mixture_scores(path: pathlib.Path, takes: list[list[np.ndarray]], tests: list[np.ndarray]) -> np.ndarray:
    weights, means, variances = (part.astype(np.float64) for part in mixtures.read(path))
    likelihood = lambda frames, moved: np.logaddexp.reduce(densities(frames, weights, moved, variances), 1).mean()
    tests = [test.astype(np.float64) for test in tests]
    everybody = np.array([likelihood(test, means) for test in tests])
    scores = []
    for of in takes:
        frames = np.concatenate(of).astype(np.float64)
        logs = densities(frames, weights, means, variances)
        shares = np.exp(logs - np.logaddexp.reduce(logs, 1)[:, None])
        counts = shares.sum(0)[:, None]
        part = counts / (counts + RELEVANCE)
        moved = part * (shares.T @ frames) / (counts + 1e-6) + (1 - part) * means
        scores.append([likelihood(test, moved) for test in tests] - everybody)
    return np.array(scores)


Scores = Callable[[pathlib.Path, list[list[np.ndarray]], list[np.ndarray]], np.ndarray]


def measure(features: pathlib.Path, network: pathlib.Path, mixture: pathlib.Path, seed: int) -> dict[str, Any]:
    calls = np.load(features / "calls.npz")
    held_out = np.flatnonzero(calls["held_out"])
    result: dict[str, Any] = {"method": METHOD}
    parts: tuple[tuple[str, pathlib.Path, Scores, str, int, np.ndarray], ...] = (
        ("network", network, network_scores, "mel", frontend.MELS, held_out),
        ("mixture", mixture, mixture_scores, "cepstra", mixtures.WIDTH, held_out[:MOST_SPEAKERS]),
    )
    for part, path, scores, name, width, speakers in parts:
        frames, begins = np.memmap(features / f"{name}.f16", "<f2", "r").reshape(-1, width), calls[name]
        for place, number in PLACES.items():
            takes, tests, of = [], [], []
            for at, speaker in enumerate(speakers):
                own = np.flatnonzero((calls["speaker"] == speaker) & (calls["number"] == number))
                sound = [frames[begins[call] : begins[call + 1]] for call in own]
                takes.append(sound[: corpora.ENROLLED])
                fresh = sound[corpora.ENROLLED : corpora.ENROLLED + TESTS]
                tests += fresh
                of += [at] * len(fresh)
            figures = with_interval(scores(path, takes, tests), np.array(of), seed)
            result[f"{part}, {place}"] = figures
            percent = [f"{100 * figures[figure]:.1f}" for figure in ("value", "low", "high")]
            print(f"equal error, {part}, {place}: {percent[0]}% ({percent[1]}-{percent[2]})", flush=True)
    return result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("features", type=pathlib.Path)
    arguments.add_argument("network", type=pathlib.Path)
    arguments.add_argument("mixture", type=pathlib.Path)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    print(json.dumps(measure(given.features, given.network, given.mixture, given.seed), indent=1))


if __name__ == "__main__":
    main()
