"""Features to a speaker network: python train.py FOLDER [--steps 6000] [--seed 0] [--leave-out NAME,NAME]

Reads what prepare.py wrote, writes `network.pt` into FOLDER. Steps, not minutes, end it, and it runs
on one thread, so that the same features, seed and version of torch give the same network.

Two losses: which speaker is it, with a margin between their directions that grows over the first
third; and which of the other halves of the batch is of the same speaker.
"""

import argparse
import math
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from network import Network

SPEAKERS = 48  # in a batch, two crops of each
LENGTHS = [128, 176, 224]  # frames in a crop
SHORTEST = 120
SCALE, MARGIN = 30.0, 0.2


def crop(random, frames, length):
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


def losses(embeddings, centres, truth, margin):
    cosines = embeddings @ functional.normalize(centres).T
    narrowed = torch.cos(torch.acos(cosines.clamp(-1 + 1e-6, 1 - 1e-6)) + margin)
    right = functional.one_hot(truth, len(centres)).bool()
    which = functional.cross_entropy(SCALE * torch.where(right, narrowed, cosines), truth)
    first, second = embeddings[0::2], embeddings[1::2]
    pairs = functional.cross_entropy(10 * first @ second.T, torch.arange(len(first)))
    return which + 0.5 * pairs


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--steps", type=int, default=6000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--rate", type=float, default=2e-3)
    arguments.add_argument("--leave-out", default="", help="speakers to measure with, never trained on")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(given.seed)
    random = np.random.default_rng(given.seed)
    calls = np.load(given.folder / "calls.npz")
    mel, begins = np.load(given.folder / "mel.npy", mmap_mode="r"), calls["mel"]
    left_out = set(filter(None, given.leave_out.split(",")))
    unknown = left_out - set(calls["names"].tolist())
    if unknown:
        raise SystemExit(f"no speakers {sorted(unknown)}")
    of = {}
    for call, (speaker, speed) in enumerate(zip(calls["speaker"], calls["speed"])):
        if calls["names"][speaker] not in left_out and begins[call + 1] - begins[call] >= SHORTEST:
            of.setdefault((speaker, speed), []).append(call)
    voices = [of[key] for key in sorted(of)]
    if len(voices) < 2:
        raise SystemExit("fewer than two voices with calls that are long enough")
    network = Network()
    centres = nn.Parameter(torch.randn(len(voices), 128) * 0.05)
    optimizer = torch.optim.AdamW([*network.parameters(), centres], lr=given.rate, weight_decay=2e-3)
    network.train()
    for step in range(given.steps):
        part = step / given.steps
        rate = given.rate * min(1, step / 100) * 0.5 * (1 + math.cos(math.pi * part)) + 1e-6
        for group in optimizer.param_groups:
            group["lr"] = rate
        length = int(random.choice(LENGTHS))
        chosen = random.choice(len(voices), min(SPEAKERS, len(voices)), replace=False)
        crops = []
        for voice in np.repeat(chosen, 2):
            call = voices[voice][random.integers(len(voices[voice]))]
            crops.append(crop(random, mel[begins[call] : begins[call + 1]], length))
        embeddings = functional.normalize(network(torch.from_numpy(np.stack(crops))))
        truth = torch.from_numpy(np.repeat(chosen, 2))
        loss = losses(embeddings, centres, truth, MARGIN * min(1, part / 0.3))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    torch.save(network.eval().state_dict(), given.folder / "network.pt")


if __name__ == "__main__":
    main()
