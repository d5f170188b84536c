"""Values that crates/voice/tests/reference.rs compares with.

    python reference.py MODELS FILE.ul... > ../../crates/voice/tests/data/reference.json

MODELS is crates/voice/models. The values come from numpy and ONNX Runtime, which share no code with
what is tested.
"""

import common

import json
import pathlib
import sys
from typing import Any

import numpy as np

import export
import frontend
import mixture as mixtures


def log_likelihood(frames: np.ndarray, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> float:
    apart = frames[:, None] - means
    logs = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances).sum(1) + (apart**2 / variances).sum(2))
    return np.logaddexp.reduce(logs, 1).mean()


def values(models: pathlib.Path, files: list[pathlib.Path]) -> dict[str, dict[str, Any]]:
    mixture = mixtures.read(models / "ubm128.bin")
    network = export.session(models / "speaker.onnx")
    found = {}
    for file in files:
        sound = frontend.decode_mulaw(file.read_bytes())
        mel = frontend.log_mel(sound)
        mel -= mel.mean(0)
        cepstra = frontend.cepstra(sound)
        (embedding,) = network.run(None, {"feats": mel[None]})
        rounded = lambda array: [round(float(value), 5) for value in array.ravel()]
        found[file.name] = {
            "mel_frames": len(mel),
            "mel_frame_50": rounded(mel[50]),
            "cepstra_frames": len(cepstra),
            "cepstra_frame_20": rounded(cepstra[20]),
            "embedding": [float(np.float32(value)) for value in embedding.ravel()],
            "log_likelihood": float(log_likelihood(cepstra.astype(np.float64), *mixture)),
        }
    return found


def main(models: pathlib.Path, files: list[pathlib.Path]) -> None:
    json.dump(values(models, files), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), [pathlib.Path(name) for name in sys.argv[2:]])
