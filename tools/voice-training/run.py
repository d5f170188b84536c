"""Everything, from recordings to models: python run.py LIST.csv FOLDER [--steps 6000] [--seed 0] ...

LIST.csv is as for prepare.py. FOLDER gets `speaker.onnx` with its manifest `speaker.toml`, `ubm128.bin`,
and `run.json`, the record of the run: versions, seeds, settings, who was trained on and who was held
out, SHA-256 of everything, and how often the held-out speakers are mistaken.

Stopped with Ctrl-C, killed, or out of power: the same command goes on, and what comes out is the same.
`FOLDER/work` is what it goes on from; it may be deleted afterwards.
"""

import common

import argparse
import contextlib
import fcntl
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import threadpoolctl
import torch

import channel
import corpus as corpora
import export
import measure
import mixture
import prepare
import train

FORM = 1


@contextlib.contextmanager
def timed(work: pathlib.Path, step: str) -> Iterator[None]:
    """Adds to the seconds of a step, over all times that it was gone on with."""
    began = time.monotonic()
    try:
        yield
    finally:
        took = common.read_json(work / "took.json") or {}
        took[step] = round(took.get(step, 0) + time.monotonic() - began, 1)
        common.write_json(work / "took.json", took)


@contextlib.contextmanager
def alone(work: pathlib.Path) -> Iterator[None]:
    """Two runs in one folder would spoil each other's files."""
    with open(work / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another run is at work in {work.parent}") from None
        yield


def threads() -> int:
    """How many the libraries use: one, or what comes out cannot be made again."""
    torch.set_num_threads(1)
    most = max([torch.get_num_threads(), *(pool["num_threads"] for pool in threadpoolctl.threadpool_info())])
    if most != 1:
        raise SystemExit(f"a library uses {most} threads; sums would be rounded otherwise each time")
    return most


def settings(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "calls": given.calls,
        "share": given.share,
        "longest": corpora.LONGEST,
        "shortest": corpora.SHORTEST,
        "most of one": corpora.MOST_OF_ONE,
        "speeds": prepare.SPEEDS,
        "babble from": prepare.POOL,
        "colours of noise": channel.COLOURS,
        "steps": given.steps,
        "rate": given.rate,
        "weight decay": train.DECAY,
        "steepest gradient": train.STEEPEST,
        "warming": train.WARMING,
        "speakers in a batch": train.SPEAKERS,
        "frames in a crop": train.LENGTHS,
        "scale, margin": [train.SCALE, train.MARGIN],
        "components": given.components,
        "most rounds": mixture.ROUNDS,
        "most frames": mixture.MOST_FRAMES,
    }


def recordings(corpus: corpora.Corpus) -> dict[str, list[list[Any]]]:
    """Of each speaker: path, SHA-256, seconds that were used."""
    of: dict[str, list[list[Any]]] = {}
    for recording in corpus.recordings:
        of.setdefault(recording.speaker, []).append([recording.path, recording.sha256, recording.seconds])
    return of


def run(given: argparse.Namespace) -> dict[str, Any]:
    folder, work = given.folder, given.folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    used = threads()
    with alone(work):
        with timed(work, "check"):
            corpus = prepare.corpus(given)
        key = common.key(recordings=corpus.digest(), seed=given.seed, licence=given.licence, settings=settings(given))
        begun = common.read_json(work / "begun.json") or common.read_json(folder / "run.json")
        if begun:
            common.same(begun["key"], key, folder)
        common.write_json(work / "begun.json", {"key": key})
        finished = common.read_json(folder / "run.json")
        if finished and all(
            (folder / made["file"]).exists() and common.sha256(folder / made["file"]) == made["sha256"]
            for made in (finished["network"], finished["mixture"])
        ):
            print(f"{folder} is finished already")
            return finished
        print(f"training on {len(corpus.trained)} speakers, {len(corpus.held_out)} held out, {corpus.chosen}")
        if corpus.not_used:
            print(f"{len(corpus.not_used)} recordings are not used; run.json will say why")
        with timed(work, "features"):
            features = prepare.prepare(corpus, work / "features", given.seed, given.calls)
        with timed(work, "training"):
            trained = train.train(work / "features", work, given.seed, given.steps, given.rate)
        with timed(work, "mixture"):
            mixed = mixture.fit(work / "features", work / "ubm128.bin", given.seed, given.components)
        with timed(work, "export"):
            exported = export.export(work, folder / "speaker.onnx", given.licence)
            with common.whole(folder / "ubm128.bin") as place:
                shutil.copyfile(work / "ubm128.bin", place)
        with timed(work, "measuring"):
            errors = measure.measure(work / "features", folder / "speaker.onnx", folder / "ubm128.bin", given.seed)
        network = {"file": "speaker.onnx", "sha256": exported["sha256"], "rounding": exported["rounding"]}
        record = {
            "form": FORM,
            "key": key,
            "threads": used,
            "list": {"sha256": corpus.sha256, "recordings": len(corpus.recordings), "not_used": corpus.not_used},
            "speakers": {"chosen": corpus.chosen, "trained": corpus.trained, "held_out": corpus.held_out},
            "recordings": recordings(corpus),
            "features": features["files"],
            "network": network | trained,
            "mixture": {"file": "ubm128.bin", "sha256": common.sha256(folder / "ubm128.bin")} | mixed,
            "equal_error": errors,
            "seconds": common.read_json(work / "took.json"),
        }
        common.write_json(folder / "run.json", record)
        return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    prepare.arguments(parser)
    train.arguments(parser)
    mixture.arguments(parser)
    parser.add_argument("--licence", default="not stated", help="of the network, for its manifest")
    given = parser.parse_args()
    train.check(given)
    mixture.check(given)
    common.heed_signals()
    record = run(given)
    for made in (record["network"], record["mixture"]):
        print(made["sha256"], made["file"])


if __name__ == "__main__":
    main()
