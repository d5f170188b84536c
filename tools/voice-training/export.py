"""A trained network to ONNX: python export.py FOLDER OUTPUT.onnx [--licence TEXT]

Reads `network.pt` from FOLDER. Weights are kept in 16 bits, with a cast to 32 in front of each use;
everything is computed in 32 bits. Checks that both forms answer alike, writes beside OUTPUT.onnx the
manifest OUTPUT.toml that `[voice] speaker` can name, and prints the SHA-256.
"""

import common

import argparse
import json
import pathlib
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

import frontend
from network import Directions, Network

SMALLEST = 200  # numbers: what is shorter stays in 32 bits, as in the shipped network
OPERATORS = 17
MOST_FRAMES = 2000  # 20 s, as for the shipped network
APART = 5e-3
TESTED = 8  # numbers of the answer that the manifest's self-test names
MANIFEST = """\
kind = "embedding"
name = "speaker network, trained with tools/voice-training"
licence = {licence}
sha256 = "{sha256}"
features = "log-mel-40"
sample_rate = 8000
input = "feats"
longest = {longest}
output = "embedding"
size = {size}

[self_test]
expected = {expected}
tolerance = 0.001
"""


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with its larger weights in 16 bits."""
    casts, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + ".16"))
        casts.append(helper.make_node("Cast", [tensor.name + ".16"], [tensor.name], to=TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def session(path: pathlib.Path) -> onnxruntime.InferenceSession:
    """A network that runs on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def self_test_signal() -> np.ndarray:
    """As in crates/voice/src/plugin.rs."""
    t = np.arange(3 * frontend.RATE) / frontend.RATE
    phase = 2 * np.pi * (100 * t + 50 * t * t / 3)
    buzz = sum(np.sin(k * phase) / k for k in range(1, 11))
    return (0.3 * (0.6 - 0.4 * np.cos(2 * np.pi * 3 * t)) * buzz / 1.6).astype(np.float32)


def export(folder: pathlib.Path, output: pathlib.Path, licence: str) -> dict[str, Any]:
    if not (folder / "network.pt").exists():
        raise SystemExit(f"{folder} has no network.pt: train.py makes it")
    torch.set_num_threads(1)
    network = Network()
    network.load_state_dict(torch.load(folder / "network.pt", weights_only=True)["weights"])
    network = Directions(network).eval()
    frames = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (1, 300, 40)).astype(np.float32))
    with common.whole(output) as place:
        with warnings.catch_warnings():
            # The newer way to export has no operators of version 17.
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                network,
                (frames,),
                str(place),
                input_names=["feats"],
                output_names=["embedding"],
                dynamic_axes={"feats": {1: "T"}},
                opset_version=OPERATORS,
                dynamo=False,
            )
        model = halved(onnx.load(place))
        onnx.checker.check_model(model)
        onnx.save(model, place)
        run = session(place)
        (answer,) = run.run(None, {"feats": frames.numpy()})
        with torch.no_grad():
            apart = float(np.abs(answer - network(frames).numpy()).max())
        if not apart <= APART:
            raise SystemExit(f"the exported network answers otherwise, by {apart}")
        mel = frontend.log_mel(self_test_signal())
        (expected,) = run.run(None, {"feats": (mel - mel.mean(0))[None]})
    sha256 = common.sha256(output)
    with common.whole(output.with_suffix(".toml")) as place:
        numbers = [round(float(value), 5) for value in expected[0, :TESTED]]
        size = expected.shape[1]
        text = MANIFEST.format(
            licence=json.dumps(licence), sha256=sha256, longest=MOST_FRAMES, size=size, expected=numbers
        )
        place.write_text(text, "utf-8")
    return {"sha256": sha256, "rounding": float(f"{apart:.1e}")}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("output", type=pathlib.Path)
    arguments.add_argument("--licence", default="not stated")
    given = arguments.parse_args()
    made = export(given.folder, given.output, given.licence)
    print(made["sha256"], f"within {made['rounding']:.1e}")


if __name__ == "__main__":
    main()
