"""The LeNet-5 of `striate learn`, trained on MNIST, and how it learnt: `python bench/learn_model.py`, some minutes.

Writes `lenet5.safetensors`, a model file, and `training.json` into `src/striate/browser/learn/`: for each epoch from 0
to 20 the first filters, and of 2,000 validation images the loss, the accuracy and the mean probability of the right
class. STRIATE_DATA names a folder with `mnist/`.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import striate

EPOCHS = 20
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


def main() -> None:
    torch.set_num_threads(1)  # a net so small gains nothing by two, and loses much on a busy machine
    with tempfile.TemporaryDirectory() as folder:
        data = striate.load_dataset(read_mnist(), size=(32, 32), test_share=0)
        run, train, valid = striate.prepare_run(data, "lenet5", epochs=EPOCHS, augment="affine", out=f"{folder}/run")
        rows = [describe_epoch(run, valid, 0)]
        for row in striate.fit(run, train, valid):
            rows.append(describe_epoch(run, valid, row.epoch))
            print(rows[-1]["epoch"], rows[-1]["loss"], rows[-1]["accuracy"], rows[-1]["right"])
        model = striate.load(run.folder)
    header = striate.Model(model.net, model.tensors, classes=model.classes, preprocess=model.preprocess)
    header.save(LEARN / "lenet5.safetensors")
    (LEARN / "training.json").write_text(json.dumps(rows, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    main()
