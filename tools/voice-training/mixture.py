"""Features to the background mixture: python mixture.py FOLDER OUTPUT.bin [--seed 0] [--components 128]

Only clean calls at their own speed count: the mixture is the ordinary voice. The format is described
at `Background::from_bytes` in crates/voice/src/gmm.rs.
"""

import argparse
import pathlib
import struct

import numpy as np
from sklearn.mixture import GaussianMixture

MOST_FRAMES = 200_000


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("output", type=pathlib.Path)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--components", type=int, default=128)
    given = arguments.parse_args()
    calls = np.load(given.folder / "calls.npz")
    cepstra, begins = np.load(given.folder / "cepstra.npy", mmap_mode="r"), calls["cepstra"]
    own_speed = np.flatnonzero(calls["speed"] == 0)
    frames = np.concatenate([cepstra[begins[call] : begins[call + 1]] for call in own_speed]).astype(np.float32)
    random = np.random.default_rng(given.seed)
    frames = frames[random.permutation(len(frames))[:MOST_FRAMES]]
    mixture = GaussianMixture(
        given.components,
        covariance_type="diag",
        max_iter=25,
        reg_covar=1e-3,
        init_params="k-means++",
        random_state=given.seed,
    ).fit(frames)
    parts = [mixture.weights_, mixture.means_, mixture.covariances_]
    header = b"CSUBM\0\0\1" + struct.pack("<II", *mixture.means_.shape)
    given.output.write_bytes(header + b"".join(part.astype("<f4").tobytes() for part in parts))


if __name__ == "__main__":
    main()
