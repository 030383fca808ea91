"""Whether an installed striate works: every step is the program as a user calls it, in the folder where this lies.

python smoke.py core    what needs no extra
python smoke.py all     that, and a training, its checks, its export and the service
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

warnings.simplefilter("error")
PROGRAM = [str(Path(sys.executable).parent / "striate")]
FORMATS = ("png", "jpg", "webp", "avif", "tiff", "gif", "bmp")


def striate(*words: str, code: int = 0) -> str:
    """Run the program, see that it ends with `code`, and return what it printed."""
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, encoding="utf-8")
    if done.returncode != code or "Traceback" in done.stderr or "Warning" in done.stderr:
        sys.exit(f"striate {' '.join(words)}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr}")
    return done.stdout


def photographs() -> None:
    """Two classes of pictures, one of every format among them."""
    draw = np.random.default_rng(0)
    for label, channel in (("red", 0), ("blue", 2)):
        folder = Path("photos", label)
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(28):
            pixels = draw.integers(0, 90, (20, 24, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / f"{i}.{FORMATS[i % len(FORMATS)]}")


def untrained() -> None:
    """A model file and its exported file, made without torch."""
    from striate import Conv, Dense, Flatten, MaxPool, Net, ReLU, load
    from striate.engines import plain
    from striate.engines.model_file import ModelHeader, Preprocess, save_model

    net = Net((3, 16, 16), [Conv(4, 3), ReLU(), MaxPool(2), Flatten(), Dense(2)])
    tensors = {name: array.astype("float32") for name, array in plain.draw_tensors(net, 0).items()}
    prepared = Preprocess((16, 16), "pad", (0.5,) * 3, (0.25,) * 3)
    header = ModelHeader(net=net, classes=("blue", "red"), preprocess=prepared)
    save_model(Path("model.safetensors"), header, tensors)
    load("model.safetensors").export("model.onnx")


def core() -> None:
    photographs()
    untrained()
    assert striate("--version").startswith("striate ")
    for command in ("train", "predict", "serve", "inside"):
        assert striate("help", command) == striate(command, "--help")
    assert "62,006" in striate("summary", "lenet5", "--input", "3x32x32")
    striate("summary", "resnet50", "--what-if")
    striate("compare", "resnet18", "resnet50")
    striate("draw", "resnet18", "-o", "net.svg")
    assert "56 images" in striate("check", "photos")
    rows = [json.loads(line) for line in striate("predict", "model.onnx", "photos", "--json").splitlines()]
    beside = [json.loads(line) for line in striate("predict", "model.safetensors", "photos", "--json").splitlines()]
    assert len(rows) == len(beside) == 56
    largest = max(
        abs(a["top"][0]["probability"] - b["top"][0]["probability"]) for a, b in zip(rows, beside, strict=True)
    )
    assert largest < 0.1, largest
    striate("evaluate", "model.onnx", "photos")
    striate("trace", "model.safetensors", "photos/red/0.png", "--at", "conv1[0,3,3]")
    striate("inside", "model.safetensors", "photos/red/0.png", "-o", "inside.html")
    striate("embed", "model.safetensors", "photos", "-o", "embed.png")
    striate("filter", "photos/red/0.png", "-o", "filter.png")


def all() -> None:
    core()
    from striate.extras import EXTRAS  # noqa: F401

    striate("train", "digits", "--net", "lenet5", "--epochs", "1", "--out", "run")
    striate("train", "digits", "--net", "lenet5", "--epochs", "1", "--out", "muon", "--optimizer", "muon")
    assert json.loads(striate("evaluate", "run", "digits", "--json"))["accuracy"] > 0.3
    striate("export", "run", "-o", "run.onnx", "--data", "digits")
    striate("export", "run", "-o", "run8.onnx", "--data", "digits", "--int8")
    striate("export", "run", "-o", "run.pt2", "--data", "digits")
    striate("export", "run", "-o", "run.html", "--data", "digits")
    striate("export", "run", "-o", "plain.onnx", "--plain", "--data", "digits")
    striate("explain", "run", "photos/red/0.png", "-o", "explain.html")
    striate("dream", "run", "--layer", "conv1", "--steps", "2", "-o", "dream.png")
    striate("embed", "run", "digits", "--method", "tsne", "-o", "tsne.png")
    tables()
    deep()
    searched()
    tracked()
    service()
    notebook()


def tables() -> None:
    """A Parquet table, and a data set as the datasets library writes it."""
    import datasets
    import pyarrow
    from pyarrow import parquet

    files = sorted(map(str, Path("photos").rglob("*.png")))
    labels = [Path(file).parent.name for file in files]
    parquet.write_table(pyarrow.table({"path": files, "label": labels}), "photos.parquet")
    striate("check", "photos.parquet")
    given = {"image": files, "label": labels}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["blue", "red"])})
    datasets.Dataset.from_dict(given, features=features).save_to_disk("hub")
    striate("check", "hf:hub")


def deep() -> None:
    """TIFF files of floats, which Pillow does not read."""
    import tifffile

    for label, level in (("dark", 0.2), ("bright", 0.8)):
        Path("deep", label).mkdir(parents=True, exist_ok=True)
        for i in range(6):
            pixels = np.full((40, 40, 3), level + i / 100, np.float32)
            tifffile.imwrite(Path("deep", label, f"{i}.tif"), pixels, photometric="rgb")
    assert "12 images, 0 to 1 RGB" in striate("check", "deep")


def searched() -> None:
    """A sweep of two trials, logged for TensorBoard: its table, its best run, its event files."""
    words = ("--trials", "2", "--epochs", "1", "--net", "lenet5", "--augment", "none", "--out", "swept")
    assert "2 trials, the best first" in striate("sweep", "digits", *words)
    striate("train", "digits", "--net", "lenet5", "--epochs", "1", "--out", "logged", "--log", "tensorboard")
    assert list(Path("logged").rglob("events.out.tfevents*"))


def tracked() -> None:
    """A run for MLflow and one for Weights & Biases, both in files here; a network by timm's name."""
    os.environ |= {"MLFLOW_TRACKING_URI": "sqlite:///tracked.db", "WANDB_MODE": "offline"}
    for name in ("mlflow", "wandb"):
        striate("train", "digits", "--net", "lenet5", "--epochs", "1", "--out", f"logged-{name}", "--log", name)
        assert Path(f"logged-{name}", f"{name}.json").is_file()
    assert "resnet18d" in striate("summary", "timm:resnet18d", "--input", "3x64x64")


def service() -> None:
    """The service on a free port answers as `predict` does; the studio's page is there."""
    for words in (("serve", "run.onnx", "--port", "0"), ("studio", "run", "--no-browser")):
        with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as asked:
            try:
                assert asked.stdout is not None
                found = (re.search(r'http://[^\s"]+', line) for line in asked.stdout)
                address = next(each for each in found if each)[0].rstrip("/")
                with urllib.request.urlopen(f"{address}/") as answer:
                    assert answer.status == 200
                if words[0] == "serve":
                    answer_of(address)
            finally:
                asked.terminate()


def answer_of(address: str) -> None:
    data = Path("photos/red/0.png").read_bytes()
    request = urllib.request.Request(f"{address}/predict", data=data, headers={"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as answer:
        told = json.load(answer)
    alone = json.loads(striate("predict", "run.onnx", "photos/red/0.png", "--json"))
    assert told["label"] == alone["label"], (told, alone)
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        assert b"striate" in answer.read()


def notebook() -> None:
    from striate.studio.notebook import inside

    assert inside("run", "photos/red/0.png").scene


if __name__ == "__main__":
    {"core": core, "all": all}[sys.argv[1]]()
    print("works")
