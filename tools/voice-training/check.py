"""Whether the tool does what it says: python check.py

Makes speakers that do not exist, trains with them for some steps, again and again, and compares to the
bit. Takes a few minutes of one core, writes nothing outside a temporary folder, fetches nothing.

COUNTERSIGN_BIN, if it names a built `countersign`, has the product load the network. COUNTERSIGN_VOICE_DATA,
if it names the folder that the tests of crates/voice read, compares the front end with what was recorded
when the shipped network was trained.
"""

import common

import collections
import contextlib
import csv
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from typing import Any

import numpy as np
import onnx

import corpus as corpora
import export
import frontend
import mixture
import reference
import toys

CRATE = common.HERE.parent.parent / "crates" / "voice"
STEPS = 45
SETTINGS = ["--steps", str(STEPS), "--components", "16"]
FEATURES = [f"work/features/{name}" for name in ("mel.f16", "cepstra.f16", "calls.npz")]
FILES = ["speaker.onnx", "speaker.toml", "ubm128.bin", *FEATURES]


def start(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-u", str(common.HERE / script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def done(script: str, *arguments: object) -> str:
    process = start(script, *arguments)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return said


def ended(number: signal.Signals, line: str, least: int, *arguments: object) -> tuple[int, str]:
    """Sends a signal as soon as a line of progress says at least so much. What came of it, and all lines."""
    said, sent = [], False
    with start("run.py", *arguments) as process:
        for text in process.stdout:
            said.append(text)
            found = re.match(rf"{line} (\d+)/", text)
            if found and int(found[1]) >= least and not sent:
                process.send_signal(number)
                sent = True
    return process.wait(), "".join(said)


def apart(one: np.ndarray, other: Any) -> float:
    other = np.asarray(other)
    assert one.shape == other.shape, (one.shape, other.shape)
    return float(np.abs(one - other).max())


class Runs(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.place = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.list = toys.make(cls.place / "toys")
        cls.first = cls.place / "first"
        done("run.py", cls.list, cls.first, *SETTINGS)
        cls.record = json.loads((cls.first / "run.json").read_text())
        # To compare with what another machine says.
        for name in ("network", "mixture"):
            print(f"{name} of the first run: {cls.record[name]['sha256']}", flush=True)

    def equal(self, folder: pathlib.Path) -> None:
        for name in FILES:
            self.assertEqual(common.sha256(folder / name), common.sha256(self.first / name), name)
        record = json.loads((folder / "run.json").read_text())
        for part in ("key", "speakers", "features", "network", "mixture", "equal_error"):
            self.assertEqual(record[part], self.record[part])

    def test_a_second_run_is_equal_to_the_bit_wherever_the_recordings_lie(self) -> None:
        other = self.place / "elsewhere"
        other.mkdir()
        rows = list(csv.DictReader(self.list.read_text().splitlines()))[::-1]
        lines = ["speaker,path"]
        for number, row in enumerate(rows):
            shutil.copy(self.list.parent / row["path"], other / f"{number}.wav")
            lines.append(f"{row['speaker']},{number}.wav")
        (other / "calls.csv").write_text("\n".join(lines) + "\n")
        done("run.py", other / "calls.csv", self.place / "second", *SETTINGS)
        self.equal(self.place / "second")

    def test_a_run_that_was_interrupted_at_every_step_is_equal_to_the_bit(self) -> None:
        folder = self.place / "interrupted"
        order = (self.list, folder, *SETTINGS)
        code, said = ended(signal.SIGTERM, "features of recordings", 1, *order)
        self.assertEqual(code, common.STOPPED, said)
        code, said = ended(signal.SIGINT, "training", 1, *order)
        self.assertEqual(code, common.STOPPED, said)
        self.assertIn("features of recordings: goes on at", said)
        # Without warning: what was not kept is done again.
        code, said = ended(signal.SIGKILL, "training", 26, *order)
        self.assertEqual(code, -signal.SIGKILL, said)
        self.assertIn("training: goes on at", said)
        code, said = ended(signal.SIGTERM, "rounds of the mixture", 1, *order)
        self.assertEqual(code, common.STOPPED, said)
        self.assertIn("training: goes on at 25 of", said)
        self.assertIn("rounds of the mixture: goes on at", done("run.py", *order))
        self.equal(folder)
        self.assertIn("is finished already", done("run.py", *order))
        said = start("run.py", self.list, folder, "--steps", STEPS + 1, "--components", 16).communicate()[0]
        self.assertIn("holds the work of another run: other settings (steps).", said)

    def test_another_seed_gives_another_network(self) -> None:
        other = self.place / "other"
        done("run.py", self.list, other, "--steps", 3, "--components", 16, "--seed", 1)
        record = json.loads((other / "run.json").read_text())
        self.assertNotEqual(record["speakers"]["held_out"], self.record["speakers"]["held_out"])
        self.assertNotEqual(record["features"]["mel.f16"], self.record["features"]["mel.f16"])
        # From the same features: the seed of the training alone.
        features = self.first / "work" / "features"
        for seed in (0, 1):
            done("train.py", features, self.place / f"seed{seed}", "--steps", 3, "--seed", seed)
            done("export.py", self.place / f"seed{seed}", self.place / f"seed{seed}.onnx")
            done("mixture.py", features, self.place / f"seed{seed}.bin", "--components", 16, "--seed", seed)
        for kind in ("onnx", "bin"):
            one, other = (common.sha256(self.place / f"seed{seed}.{kind}") for seed in (0, 1))
            self.assertNotEqual(one, other)

    def test_the_single_steps_give_what_the_run_gives(self) -> None:
        place, work = self.place / "steps", self.first / "work"
        done("prepare.py", self.list, place / "features")
        done("mixture.py", place / "features", place / "mixture.bin", "--components", 16)
        done("export.py", work, place / "network.onnx")
        pairs = {"features/mel.f16": FEATURES[0], "mixture.bin": "ubm128.bin", "network.onnx": "speaker.onnx"}
        for made, name in pairs.items():
            self.assertEqual(common.sha256(place / made), common.sha256(self.first / name))
        said = done("measure.py", place / "features", place / "network.onnx", place / "mixture.bin")
        self.assertEqual(json.loads(said[said.index("{") :]), self.record["equal_error"])

    def test_the_record_says_everything(self) -> None:
        record = self.record
        self.assertEqual(record["threads"], 1)
        self.assertEqual(record["network"]["steps"], STEPS)
        self.assertEqual(record["list"]["sha256"], common.sha256(self.list))
        self.assertEqual(record["network"]["sha256"], common.sha256(self.first / "speaker.onnx"))
        self.assertEqual(record["mixture"]["sha256"], common.sha256(self.first / "ubm128.bin"))
        trained, held_out = (set(record["speakers"][part]) for part in ("trained", "held_out"))
        self.assertFalse(trained & held_out)
        self.assertEqual(trained | held_out, set(record["recordings"]))
        for path, sha256, _ in sum(record["recordings"].values(), []):
            self.assertEqual(sha256, common.sha256(self.list.parent / path))
        pinned = (common.HERE / "requirements.txt").read_text().lower()
        for name, version in record["key"]["versions"].items():
            if name != "python":
                self.assertIn(f"{name}=={version} ", pinned)

    def test_the_network_is_of_the_form_that_the_product_expects(self) -> None:
        path = self.first / "speaker.onnx"
        model, shipped = onnx.load(path), onnx.load(CRATE / "models" / "speaker.onnx")
        (port,) = model.graph.input
        form = port.type.tensor_type
        self.assertEqual((port.name, form.elem_type), ("feats", onnx.TensorProto.FLOAT))
        self.assertEqual([at.dim_param or at.dim_value for at in form.shape.dim], [1, "T", 40])
        self.assertEqual([value.name for value in model.graph.output], ["embedding"])
        self.assertEqual([(one.domain, one.version) for one in model.opset_import], [("", export.OPERATORS)])
        # The same numbers in the same precision, and no operator that the shipped one does without.
        kinds = lambda of: collections.Counter((one.data_type, *one.dims) for one in of.graph.initializer if one.dims)
        self.assertEqual(kinds(model), kinds(shipped))
        operators = lambda of: {node.op_type for node in of.graph.node}
        self.assertLessEqual(operators(model), operators(shipped))
        run = export.session(path)
        for frames in (30, 131, export.MOST_FRAMES):
            sound = np.random.default_rng(frames).normal(0, 2, (1, frames, 40)).astype(np.float32)
            (answer,) = run.run(None, {"feats": sound})
            self.assertEqual((answer.dtype, answer.shape), (np.float32, (1, 128)))
            self.assertAlmostEqual(float(np.linalg.norm(answer)), 1, places=5)

    def test_the_product_loads_the_network(self) -> None:
        binary = os.environ.get("COUNTERSIGN_BIN")
        if not binary:
            self.skipTest("COUNTERSIGN_BIN names no built countersign")
        command = [binary, "voice", "models", "check", str(self.first / "speaker.toml")]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        print(answer.stdout)


class Values(unittest.TestCase):
    def test_the_front_end_gives_what_the_tests_of_the_product_expect(self) -> None:
        expected = json.loads((CRATE / "tests" / "data" / "reference.json").read_text())
        found = reference.values(CRATE / "models", [CRATE / "tests" / "data" / name for name in expected])
        for file, values in expected.items():
            for name, value in values.items():
                self.assertLess(apart(np.array(found[file][name]), value), 1e-4, f"{file} {name}")

    def test_the_front_end_gives_what_was_recorded_at_the_training(self) -> None:
        if "COUNTERSIGN_VOICE_DATA" not in os.environ:
            self.skipTest("COUNTERSIGN_VOICE_DATA names no folder of recordings")
        golden = pathlib.Path(os.environ["COUNTERSIGN_VOICE_DATA"]) / "golden"
        likely = json.loads((golden / "classical.json").read_text())
        background = mixture.read(CRATE / "models" / "ubm128.bin")
        network = export.session(CRATE / "models" / "speaker.onnx")
        for file in sorted(golden.glob("*.ul")):
            recorded = lambda kind, width: np.fromfile(file.with_suffix(f".{kind}.f32"), "<f4").reshape(-1, width)
            sound = frontend.decode_mulaw(file.read_bytes())
            mel, cepstra = frontend.log_mel(sound), frontend.cepstra(sound)
            self.assertLess(apart(mel, recorded("logmel", 40)), 1e-4, file)
            self.assertLess(apart(cepstra, recorded("mfcc38", 38)), 1e-3, file)
            (answer,) = network.run(None, {"feats": (mel - mel.mean(0))[None]})
            self.assertLess(apart(answer, recorded("emb", 128)), 1e-3, file)
            found = reference.log_likelihood(cepstra.astype(np.float64), *background)
            self.assertAlmostEqual(found, likely[file.stem]["ubm_avg_loglik"], places=3)

    def test_mulaw_is_that_of_the_library(self) -> None:
        every = bytes(range(256))
        sound = frontend.decode_mulaw(every)
        self.assertEqual(frontend.encode_mulaw(sound).replace(b"\x7f", b"\xff"), every.replace(b"\x7f", b"\xff"))
        self.assertLess(apart(corpora.decode(every * 50, ".ul"), np.tile(sound, 50)), 1e-6)


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.place = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.list = toys.make(cls.place)
        cls.lines = cls.list.read_text().splitlines()
        (cls.place / "text.wav").write_text("no sound")
        (cls.place / "empty.ul").touch()
        (cls.place / "silence.ul").write_bytes(b"\xff" * 16_000)
        (cls.place / "short.ul").write_bytes(bytes(range(256)) * 20)

    def refused(self, says: str, lines: list[str], *held_out: str) -> None:
        path = self.place / "bad.csv"
        path.write_text("\n".join(lines) + "\n")
        with self.assertRaises(SystemExit) as caught, contextlib.redirect_stdout(io.StringIO()):
            corpora.load(path, list(held_out), 0.2, 0)
        self.assertIn(says, str(caught.exception))

    def test_what_cannot_be_used_is_refused_with_the_reason(self) -> None:
        lines = self.lines
        self.refused("no column path and no column speaker", ["file,who", *lines[1:]])
        self.refused("no column path", [""])
        self.refused("line 2: no speaker", [lines[0], "s00-0.wav,", *lines[2:]])
        self.refused("line 72: set `test`", [lines[0] + ",set", *lines[1:], "s00-0.wav,s00,test"])
        self.refused("6 speakers to train on, it takes 8", lines[:51])
        self.refused("3 speakers to measure with, it takes 4", lines, "s00", "s01", "s02")
        self.refused("names nobody of the list: nobody", lines, "s00", "nobody")
        four = ("s00", "s01", "s02", "s03")
        named = [f"{line},{'held-out' if line.endswith(four) else 'train'}" for line in lines[1:]]
        self.refused("both in train and in held-out: s00", [lines[0] + ",set", *named[:-1], "s00-0.wav,s00,train"])
        self.refused("only one of them", [lines[0] + ",set", *named], "s05")
        self.refused("4 recordings, too few has s00", [lines[0] + ",set", *named[2:]])
        self.refused("text.wav of s00 cannot be read as sound", [*lines, "text.wav,s00"])
        self.refused("silence.ul of s00 is silent", [*lines, "silence.ul,s00"])
        self.refused("empty.ul of s00 is empty", [*lines, "empty.ul,s00"])
        self.refused("gone.wav of s00: No such file", [*lines, "gone.wav,s00"])
        self.refused("s00-0.wav of s01 is the same recording as s00-0.wav of s00", [*lines, "s00-0.wav,s01"])

    def test_what_is_too_short_is_left_out_and_said(self) -> None:
        path = self.place / "short.csv"
        path.write_text("\n".join([*self.lines, "short.ul,s00"]) + "\n")
        with contextlib.redirect_stdout(io.StringIO()):
            corpus = corpora.load(path, [], 0.2, 0)
        self.assertEqual(corpus.not_used, ["short.ul: 0.64 s, shorter than 1.5 s"])
        self.assertEqual((len(corpus.trained), len(corpus.held_out), len(corpus.recordings)), (10, 4, 70))


if __name__ == "__main__":
    unittest.main(verbosity=2)
