"""A trained network to ONNX: python export.py FOLDER OUTPUT.onnx

Weights are kept in 16 bits, with a cast to 32 in front of each use; everything is computed in 32 bits.
Checks that both forms answer alike, and prints the SHA-256 that belongs into crates/voice/src/embed.rs.
"""

import argparse
import hashlib
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from network import Directions, Network

SMALLEST = 64  # numbers: what is shorter stays in 32 bits


def halved(model):
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


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("output", type=pathlib.Path)
    given = arguments.parse_args()
    network = Network()
    network.load_state_dict(torch.load(given.folder / "network.pt", weights_only=True))
    network = Directions(network).eval()
    frames = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (1, 300, 40)).astype(np.float32))
    torch.onnx.export(
        network,
        frames,
        given.output,
        input_names=["feats"],
        output_names=["embedding"],
        dynamic_axes={"feats": {1: "T"}},
        opset_version=17,
        dynamo=False,
    )
    model = halved(onnx.load(given.output))
    onnx.checker.check_model(model)
    onnx.save(model, given.output)
    (answer,) = onnxruntime.InferenceSession(str(given.output)).run(None, {"feats": frames.numpy()})
    with torch.no_grad():
        apart = np.abs(answer - network(frames).numpy()).max()
    if apart > 5e-3:
        raise SystemExit(f"the exported network answers otherwise, by {apart}")
    print(hashlib.sha256(given.output.read_bytes()).hexdigest(), f"within {apart:.1e}")


if __name__ == "__main__":
    main()
