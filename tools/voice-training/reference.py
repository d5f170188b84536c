"""Values that crates/voice/tests/reference.rs compares with.

    python reference.py MODELS FILE.ul... > ../../crates/voice/tests/data/reference.json

MODELS is crates/voice/models. The values come from numpy and ONNX Runtime, which share no code with
what is tested.
"""

import json
import pathlib
import struct
import sys

import numpy as np
import onnxruntime

import frontend


def read_mixture(path):
    data = path.read_bytes()
    count, width = struct.unpack_from("<II", data, 8)
    numbers = np.frombuffer(data, "<f4", offset=16)
    means, variances = numbers[count:].reshape(2, count, width)
    return numbers[:count], means, variances


def log_likelihood(frames, weights, means, variances):
    apart = frames[:, None] - means
    logs = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances).sum(1) + (apart**2 / variances).sum(2))
    return np.logaddexp.reduce(logs, 1).mean()


def main(models, files):
    mixture = read_mixture(models / "ubm128.bin")
    network = onnxruntime.InferenceSession(str(models / "speaker.onnx"))
    values = {}
    for file in files:
        sound = frontend.decode_mulaw(file.read_bytes())
        mel = frontend.log_mel(sound)
        mel -= mel.mean(0)
        cepstra = frontend.cepstra(sound)
        (embedding,) = network.run(None, {"feats": mel[None]})
        rounded = lambda array: [round(float(value), 5) for value in array.ravel()]
        values[file.name] = {
            "mel_frames": len(mel),
            "mel_frame_50": rounded(mel[50]),
            "cepstra_frames": len(cepstra),
            "cepstra_frame_20": rounded(cepstra[20]),
            "embedding": [float(np.float32(value)) for value in embedding.ravel()],
            "log_likelihood": float(log_likelihood(cepstra.astype(np.float64), *mixture)),
        }
    json.dump(values, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), [pathlib.Path(name) for name in sys.argv[2:]])
