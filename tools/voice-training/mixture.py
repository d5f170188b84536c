"""Features to the background mixture: python mixture.py FEATURES OUTPUT.bin [--seed 0] [--components 128]

Only clean calls at their own speed count, of those who are trained on: the mixture is the ordinary
voice. The format is described at `Background::from_bytes` in crates/voice/src/gmm.rs. Until it is
finished, `OUTPUT.unfinished.npz` has what it takes to go on.
"""

import common

import argparse
import json
import pathlib
import struct
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import frontend

MOST_FRAMES = 200_000
ROUNDS = 25
WIDTH = 2 * frontend.COEFFICIENTS
MAGIC = b"CSUBM\0\0\1"
# What a mixture of scikit-learn goes on from.
STATE = ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bound_", "converged_")


def read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances."""
    data = path.read_bytes()
    count, width = struct.unpack_from("<II", data, 8)
    numbers = np.frombuffer(data, "<f4", offset=16)
    means, variances = numbers[count:].reshape(2, count, width)
    return numbers[:count], means, variances


def frames(features: pathlib.Path, seed: int) -> np.ndarray:
    """What the mixture is made of."""
    calls = np.load(features / "calls.npz")
    cepstra = np.memmap(features / "cepstra.f16", "<f2", "r").reshape(-1, WIDTH)
    begins = calls["cepstra"]
    wanted = (calls["speed"] == 0) & (calls["number"] == 0) & ~calls["held_out"][calls["speaker"]]
    places = np.concatenate([np.arange(begins[call], begins[call + 1]) for call in np.flatnonzero(wanted)])
    drawn = np.random.default_rng([seed, common.MIXTURE]).permutation(len(places))[:MOST_FRAMES]
    return np.asarray(cepstra[places[drawn]], np.float32)


def fit(features: pathlib.Path, output: pathlib.Path, seed: int, components: int) -> dict[str, Any]:
    """What the mixture is made of; it may be there already."""
    made = common.read_json(features / "features.json")
    if not made:
        raise SystemExit(f"{features} has no features that are finished: prepare.py makes them")
    key = common.key(features=made["files"], seed=seed, components=components)
    about, unfinished = output.with_suffix(".mixture.json"), output.with_suffix(".unfinished.npz")
    finished = common.read_json(about)
    if finished and output.exists():
        common.same(finished["key"], key, output)
        return finished["about"]
    chosen = frames(features, seed)
    if len(chosen) < 10 * components:
        raise SystemExit(f"{len(chosen)} frames are too few for {components} components")
    # One round at a time, each going on from the last: the same as all of them at once.
    mixture = GaussianMixture(
        components,
        covariance_type="diag",
        max_iter=1,
        warm_start=True,
        reg_covar=1e-3,
        init_params="k-means++",
        random_state=seed % 2**32,
    )
    done = 0
    if unfinished.exists():
        with np.load(unfinished) as kept:
            common.same(json.loads(str(kept["key"])), key, output)
            done = int(kept["done"])
            for name in STATE:
                setattr(mixture, name, kept[name][()])
    progress = common.Progress("rounds of the mixture", ROUNDS, done)
    while done < ROUNDS and not (done and mixture.converged_):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(chosen)
        done += 1
        with common.whole(unfinished) as place, open(place, "wb") as file:
            state = {name: getattr(mixture, name) for name in STATE}
            np.savez(file, key=json.dumps(key), done=done, **state)
        if common.asked_to_stop():
            raise common.stopped(f"{done} rounds of the mixture are kept")
        progress.at(done)
    parts = [mixture.weights_, mixture.means_, mixture.covariances_]
    with common.whole(output) as place:
        header = MAGIC + struct.pack("<II", *mixture.means_.shape)
        place.write_bytes(header + b"".join(part.astype("<f4").tobytes() for part in parts))
    result = {"components": components, "frames": len(chosen), "rounds": done}
    common.write_json(about, {"key": key, "about": result})
    unfinished.unlink()
    return result


def arguments(parser: argparse.ArgumentParser) -> None:
    """What run.py asks for as well."""
    parser.add_argument("--components", type=int, default=128)


def check(given: argparse.Namespace) -> None:
    if not 1 <= given.components <= 1024:
        raise SystemExit("--components is 1 to 1024")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments(parser)
    given = parser.parse_args()
    check(given)
    common.heed_signals()
    fit(given.features, given.output, given.seed, given.components)
    print(common.sha256(given.output))


if __name__ == "__main__":
    main()
