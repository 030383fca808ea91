"""What `striate learn` knows of MNIST: `python bench/learn_model.py`, some minutes; `… examples strides` does a part.

Writes into `src/striate/browser/learn/`:
    model     `lenet5.safetensors`, a model file, and `training.json`: for each epoch from 0 to 20 the first filters,
              and of 2,000 validation images the loss, the accuracy and the mean probability of the right class
    examples  `exciting.json`: of the 54,000 digits that are trained on those that excite a channel most, each as the
              patch that it sees
    strides   `strides.json`: LeNet-5 that pools beside one that strides instead, of as many parameters
STRIATE_DATA names a folder with `mnist/`.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import striate

EPOCHS = 20
STRIDE_EPOCHS = 3
# How many channels of a layer are shown, and with how many digits each.
SHOWN = {"conv1": 6, "conv2": 16, "dense1": 8, "dense3": 10}
DIGITS_EACH = 3
POOLING = "Conv(6, 5), ReLU(), MaxPool(2), Conv(16, 5), ReLU(), MaxPool(2)"
STRIDING = "Conv(6, 5, 2), ReLU(), Conv(16, 5, 2), ReLU()"
HEAD = "Flatten(), Dense(120), ReLU(), Dense(84), ReLU(), Dense(10)"
LEARN = Path(striate.__file__).parent / "browser" / "learn"


def read_mnist() -> tuple[np.ndarray, np.ndarray]:
    folder = Path(os.environ["STRIATE_DATA"]) / "mnist"
    files = (folder / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    x, y = (gzip.decompress(file.read_bytes()) for file in files)
    return np.frombuffer(x[16:], np.uint8).reshape(-1, 28, 28), np.frombuffer(y[8:], np.uint8)


def describe_epoch(run: Any, valid: Any, epoch: int) -> dict[str, Any]:
    """What the page shows of an epoch; numbers to four digits."""
    mean, std = run.task.preprocess.mean[0], run.task.preprocess.std[0]
    pixels, y = torch.as_tensor(valid.x)[:2000, ..., 0], torch.as_tensor(valid.y)[:2000].long()
    x = ((pixels / 255 - mean) / std).float()[:, None]
    network = run.network.eval()
    with torch.no_grad():
        logits = network(x)
        p = logits.softmax(1)
        loss = torch.nn.functional.cross_entropy(logits, y)
    filters = network.state_dict()["conv1.weight"].flatten().tolist()
    network.train()
    return {
        "epoch": epoch,
        "loss": round(float(loss), 4),
        "accuracy": round(float((logits.argmax(1) == y).float().mean()), 4),
        "right": round(float(p[torch.arange(len(y)), y].mean()), 4),
        "filters": [round(weight, 4) for weight in filters],
    }


def read_digits() -> Any:
    return striate.load_dataset(read_mnist(), size=(32, 32), test_share=0)


def write_json(name: str, found: Any) -> None:
    (LEARN / name).write_text(json.dumps(found, separators=(",", ":")), encoding="utf-8")


def train_model() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run, train, valid = striate.prepare_run(
            read_digits(), "lenet5", epochs=EPOCHS, augment="affine", out=f"{folder}/run"
        )
        rows = [describe_epoch(run, valid, 0)]
        for row in striate.fit(run, train, valid):
            rows.append(describe_epoch(run, valid, row.epoch))
            print(rows[-1]["epoch"], rows[-1]["loss"], rows[-1]["accuracy"], rows[-1]["right"])
        model = striate.load(run.folder)
    header = striate.Model(model.net, model.tensors, classes=model.classes, preprocess=model.preprocess)
    header.save(LEARN / "lenet5.safetensors")
    write_json("training.json", rows)


def find_exciting() -> None:
    """The patches as base64 of their gray levels, row by row."""
    model, digits = striate.load(LEARN / "lenet5.safetensors"), read_digits().train
    found = {}
    for path, count in SHOWN.items():
        found[path] = [
            [
                {
                    "value": float(f"{one.value:.5g}"),
                    "label": int(digits.y[one.image]),
                    "patch": base64.b64encode(one.patch.tobytes()).decode(),
                }
                for one in excited.examples
            ]
            for excited in model.examples(digits, path, range(count), DIGITS_EACH)
        ]
        print(path, [[one["label"] for one in examples] for examples in found[path]])
    write_json("exciting.json", found)


def measure_strides() -> None:
    """Both nets from scratch with one recipe: what striding saves and what it costs."""
    found = {}
    for name, body in (("pooling", POOLING), ("striding", STRIDING)):
        net = striate.parse(f"Net((1, 32, 32), [{body}, {HEAD}])")
        with tempfile.TemporaryDirectory() as folder:
            run, train, valid = striate.prepare_run(read_digits(), net, epochs=STRIDE_EPOCHS, out=f"{folder}/run")
            for _ in striate.fit(run, train, valid):
                pass
            end = describe_epoch(run, valid, STRIDE_EPOCHS)
        total = striate.summary(net)
        found[name] = {
            "net": f"{body}, {HEAD}",
            "parameters": total.params,
            "macs": total.macs,
            "epochs": STRIDE_EPOCHS,
        }
        found[name] |= {"loss": end["loss"], "accuracy": end["accuracy"]}
        print(name, found[name])
    write_json("strides.json", found)


PARTS = {"model": train_model, "examples": find_exciting, "strides": measure_strides}

if __name__ == "__main__":
    torch.set_num_threads(1)  # a net so small gains nothing by two, and loses much on a busy machine
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
