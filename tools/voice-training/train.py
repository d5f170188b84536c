"""Features to a speaker network: python train.py FEATURES FOLDER [--steps 6000] [--seed 0]

Reads what prepare.py wrote, writes `network.pt` into FOLDER, and until then `training.pt`: all that it
takes to go on as if nothing had been. Steps, not minutes, end it, and it runs on one thread, so that
the same features, seed, versions and kind of processor give the same network.

Two losses: which speaker is it, with a margin between their directions that grows over the first
third; and which of the other halves of the batch is of the same speaker.
"""

import common

import argparse
import json
import math
import pathlib
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from network import Network

SPEAKERS = 48  # in a batch, two crops of each
LENGTHS = [128, 176, 224]  # frames in a crop
SCALE, MARGIN = 30.0, 0.2
DECAY, STEEPEST = 2e-3, 5.0
WARMING = 100  # steps
KEEP_EVERY = 25  # steps: what a kill without warning costs, some seconds


def crop(random: np.random.Generator, frames: np.ndarray, length: int) -> np.ndarray:
    if len(frames) < length:
        frames = np.resize(frames, (length, frames.shape[1]))
    start = random.integers(len(frames) - length + 1)
    frames = frames[start : start + length].astype(np.float32)
    frames -= frames.mean(0)
    # What is missing here and there is not relied on.
    if random.random() < 0.5:
        band, width = random.integers(frames.shape[1]), random.integers(1, 7)
        frames[:, band : band + width] = 0
    if random.random() < 0.5:
        at, width = random.integers(length), random.integers(3, 20)
        frames[at : at + width] = 0
    return frames


def losses(embeddings: torch.Tensor, centres: torch.Tensor, truth: torch.Tensor, margin: float) -> torch.Tensor:
    cosines = embeddings @ functional.normalize(centres).T
    narrowed = torch.cos(torch.acos(cosines.clamp(-1 + 1e-6, 1 - 1e-6)) + margin)
    right = functional.one_hot(truth, len(centres)).bool()
    which = functional.cross_entropy(SCALE * torch.where(right, narrowed, cosines), truth)
    first, second = embeddings[0::2], embeddings[1::2]
    pairs = functional.cross_entropy(10 * first @ second.T, torch.arange(len(first)))
    return which + 0.5 * pairs


class Training:
    """Everything that changes from step to step, to be kept and gone on with."""

    def __init__(self, voices: int, seed: int, rate: float):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(seed)
        self.random = np.random.default_rng([seed, common.TRAINING])
        self.network = Network().train()
        self.centres = nn.Parameter(torch.randn(voices, 128) * 0.05)
        self.optimizer = torch.optim.AdamW([*self.network.parameters(), self.centres], lr=rate, weight_decay=DECAY)
        self.step, self.loss = 0, math.nan

    def keep(self, path: pathlib.Path, key: dict[str, Any]) -> None:
        state = {
            "key": json.dumps(key),
            "step": self.step,
            "loss": self.loss,
            "network": self.network.state_dict(),
            "centres": self.centres.detach(),
            "optimizer": self.optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "numpy": json.dumps(self.random.bit_generator.state),
        }
        with common.whole(path) as place:
            torch.save(state, place)

    def go_on(self, path: pathlib.Path, key: dict[str, Any]) -> None:
        state = torch.load(path, weights_only=True)
        common.same(json.loads(state["key"]), key, path.parent)
        self.step, self.loss = state["step"], state["loss"]
        self.network.load_state_dict(state["network"])
        self.centres.data.copy_(state["centres"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch"])
        self.random.bit_generator.state = json.loads(state["numpy"])


def train(features: pathlib.Path, folder: pathlib.Path, seed: int, steps: int, rate: float) -> dict[str, Any]:
    """What is in `network.pt` apart from the weights."""
    made = common.read_json(features / "features.json")
    if not made:
        raise SystemExit(f"{features} has no features that are finished: prepare.py makes them")
    folder.mkdir(parents=True, exist_ok=True)
    key = common.key(features=made["files"], seed=seed, steps=steps, rate=rate)
    finished, unfinished = folder / "network.pt", folder / "training.pt"
    if finished.exists():
        state = torch.load(finished, weights_only=True)
        common.same(json.loads(state["key"]), key, folder)
        return {"steps": state["steps"], "loss": state["loss"], "voices": state["voices"]}
    calls = np.load(features / "calls.npz")
    mel, begins = np.memmap(features / "mel.f16", "<f2", "r").reshape(-1, 40), calls["mel"]
    of: dict[tuple[int, int], list[int]] = {}
    for call, (speaker, speed) in enumerate(zip(calls["speaker"], calls["speed"])):
        if not calls["held_out"][speaker]:
            of.setdefault((speaker, speed), []).append(call)
    voices = [of[pair] for pair in sorted(of)]
    work = Training(len(voices), seed, rate)
    if unfinished.exists():
        work.go_on(unfinished, key)
    progress = common.Progress("training", steps, work.step)
    while work.step < steps:
        part = work.step / steps
        now = rate * min(1, work.step / WARMING) * 0.5 * (1 + math.cos(math.pi * part)) + 1e-6
        for group in work.optimizer.param_groups:
            group["lr"] = now
        length = int(work.random.choice(LENGTHS))
        chosen = work.random.choice(len(voices), min(SPEAKERS, len(voices)), replace=False)
        crops = []
        for voice in np.repeat(chosen, 2):
            call = voices[voice][work.random.integers(len(voices[voice]))]
            crops.append(crop(work.random, mel[begins[call] : begins[call + 1]], length))
        embeddings = functional.normalize(work.network(torch.from_numpy(np.stack(crops))))
        truth = torch.from_numpy(np.repeat(chosen, 2))
        loss = losses(embeddings, work.centres, truth, MARGIN * min(1, part / 0.3))
        work.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(work.network.parameters(), STEEPEST)
        work.optimizer.step()
        work.step, work.loss = work.step + 1, loss.item()
        if not math.isfinite(work.loss):
            raise SystemExit(f"the loss is no number any more at step {work.step}: try a smaller --rate")
        stop = common.asked_to_stop() and work.step < steps
        if stop or work.step % KEEP_EVERY == 0:
            work.keep(unfinished, key)
        if stop:
            raise common.stopped(f"{work.step} steps are kept")
        progress.at(work.step, f", loss {work.loss:.3f}")
    about = {"steps": steps, "loss": round(work.loss, 6), "voices": len(voices)}
    with common.whole(finished) as place:
        torch.save({"key": json.dumps(key), "weights": work.network.eval().state_dict(), **about}, place)
    unfinished.unlink(missing_ok=True)
    return about


def arguments(parser: argparse.ArgumentParser) -> None:
    """What run.py asks for as well."""
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--rate", type=float, default=2e-3)


def check(given: argparse.Namespace) -> None:
    if not 0 <= given.seed < 2**63 or given.steps < 1 or not 0 < given.rate < 1:
        raise SystemExit("--seed is 0 to 2^63, --steps 1 or more, --rate between 0 and 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments(parser)
    given = parser.parse_args()
    check(given)
    common.heed_signals()
    train(given.features, given.folder, given.seed, given.steps, given.rate)


if __name__ == "__main__":
    main()
