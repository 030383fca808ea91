"""How many pictures of other things are turned away, at 5 % of the right answers lost.

    python bench/unlike.py /tmp/unlike

A transfer on the clothing photographs and a net trained from scratch on Fashion-MNIST are calibrated with `unlike`;
then they are shown digits, textures, noise and other photographs, none of which chose anything. Beside what striate
uses stand its two signs alone, the largest probability, and the cosine distance of the fifth nearest training picture
(Sun et al. 2022), each with a limit chosen in the same way on the same validation pictures. The runs are kept in the
folder named.
Needs STRIATE_DATA with clothing/, mnist/, fashion-mnist/ and cifar10-part/.
"""

from __future__ import annotations

import io
import os
import platform
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import striate
from striate.metrics.likeness import (
    choose_limit,
    measure_distances,
    measure_energies,
    measure_strangeness,
    open_scatter,
)
from striate.model.knowing import spread_pictures
from striate.model.model import compute_softmax

DATA = Path(os.environ["STRIATE_DATA"])
LOST, PICTURES = 0.05, 250
TASKS: dict[str, tuple[Any, dict[str, Any], float]] = {
    "clothing": (DATA / "clothing", {"preset": "transfer"}, 0.2),
    "fashion-mnist": ("fashion-mnist", {"preset": "fast", "epochs": 8}, 0.05),
}


def resize(pictures: np.ndarray, side: int, channels: int) -> np.ndarray:
    """Gray or colour pictures as uint8 N×side×side×channels."""
    shown = [Image.fromarray(p[..., 0] if p.shape[-1] == 1 else p) for p in pictures]
    mode = "RGB" if channels == 3 else "L"
    made = [np.asarray(p.convert(mode).resize((side, side), Image.Resampling.BICUBIC)) for p in shown]
    return np.stack(made).reshape(len(made), side, side, channels)


def draw_textures(count: int, side: int) -> dict[str, np.ndarray]:
    """Noise, clouds (noise of 1/frequency) and stripes, in two random colours each."""
    draw, made = np.random.default_rng(0), {}
    made["noise"] = draw.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    far = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    y, x = np.mgrid[:side, :side]
    fields: dict[str, list[np.ndarray]] = {"clouds": [], "stripes": []}
    for _ in range(count):
        cloud = np.fft.ifft2(np.fft.fft2(draw.normal(size=(side, side))) / (far + 1 / side) ** draw.uniform(0.6, 1.8))
        fields["clouds"].append((cloud.real - cloud.real.min()) / np.ptp(cloud.real))
        angle, period = draw.uniform(0, np.pi), draw.uniform(4, side / 4)
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + draw.uniform(0, 6)) / 2 + 0.5
        fields["stripes"].append(wave if draw.random() < 0.5 else (wave > 0.5) * 1.0)
    for name, drawn in fields.items():
        pairs = draw.integers(0, 256, (count, 2, 3))
        made[name] = np.stack(
            [f[..., None] * a + (1 - f[..., None]) * b for f, (a, b) in zip(drawn, pairs, strict=True)]
        )
    return {name: pictures.astype(np.uint8) for name, pictures in made.items()}


def read_test(data: Any, **reading: Any) -> Any:
    images = striate.load_dataset(data, **reading).test
    assert images is not None
    return images.x


def read_photo(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Image.Image:
    opened = tar.extractfile(member)
    assert opened is not None
    return Image.open(io.BytesIO(opened.read())).convert("RGB")


def read_others(task: str, side: int, channels: int) -> dict[str, np.ndarray]:
    """Pictures of other things, by name."""
    mnist = read_test("mnist")[:PICTURES]
    with tarfile.open(next((DATA / "cifar10-part").glob("*.tar"))) as tar:
        members = [member for member in tar.getmembers() if "test/" in member.name and member.isfile()]
        chosen = np.random.default_rng(0).permutation(len(members))[:PICTURES]
        photos = [read_photo(tar, members[k]) for k in chosen]
    given = {
        "MNIST": mnist,
        "MNIST, dark on light": 255 - mnist,
        "scikit-learn's digits": read_test("digits"),
        **draw_textures(PICTURES, side),
        "CIFAR-10 part (JPEG)": np.stack([np.asarray(photo) for photo in photos]),
    }
    if task == "clothing":
        given["Fashion-MNIST"] = read_test("fashion-mnist")[:PICTURES]
    else:
        given["clothing photographs"] = read_test(DATA / "clothing", size=(64, 64))[:PICTURES]
    return {name: resize(pictures, side, channels) for name, pictures in given.items()}


def measure_task(task: str, under: Path) -> None:
    data, settings, error = TASKS[task]
    folder = under / task
    if not (folder / "report.json").exists():
        striate.train(data, out=folder, **settings)
    striate.calibrate(folder, data, error, unlike=LOST)
    model = striate.load(folder)
    (channels, side, _), known = model.net.input, model.header.likeness
    whole = striate.load_dataset(
        data, size=model.preprocess.size, channels=channels, fit=model.preprocess.fit, seed=model.header.recipe["seed"]
    )
    assert known is not None and whole.test is not None and model.abstention is not None
    thresholds = np.array(model.abstention.thresholds)
    scatter = open_scatter(known, len(model.classes))

    def see(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return model.read_features(x, known.path)

    learnt = see(spread_pictures(whole.train).x)[0]
    learnt /= np.linalg.norm(learnt, axis=1, keepdims=True)
    scores: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "striate": lambda f, y: measure_strangeness(known, f, y.astype(np.float64)),
        "distance": lambda f, y: measure_distances(scatter, f),
        "energy": lambda f, y: measure_energies(y),
        "1 − probability": lambda f, y: 1 - compute_softmax(y).max(1),
        "5th neighbour": lambda f, y: -np.sort(f / np.linalg.norm(f, axis=1, keepdims=True) @ learnt.T, axis=1)[:, -5],
    }
    valid, test = see(whole.valid.x), see(whole.test.x)
    right = [out.argmax(1) == images.y for (_, out), images in ((valid, whole.valid), (test, whole.test))]
    others = {name: see(x) for name, x in read_others(task, side, channels).items()}
    told = f"{len(whole.train):,} images, {right[1].mean():.1%} right, {error:.0%} stated error"
    print(f"\n{task}: {model.net.name}, {told}")
    print(f"| turned away | {' | '.join(scores)} | unsure in all |")
    print("|---|" + "---:|" * (len(scores) + 1))
    limits = {name: choose_limit(score(*valid)[right[0]], LOST) for name, score in scores.items()}

    def show(name: str, seen: tuple[np.ndarray, np.ndarray]) -> list[float]:
        shares = [float((score(*seen) > limits[kind]).mean()) for kind, score in scores.items()]
        p = compute_softmax(seen[1].astype(np.float64))
        below = p.max(1) < thresholds[p.argmax(1)]
        shares.append(float((below | (scores["striate"](*seen) > 1)).mean()))
        print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in shares) + " |", flush=True)
        return shares

    show("right answers to test images", (test[0][right[1]], test[1][right[1]]))
    away = [show(name, seen) for name, seen in others.items()]
    print("| mean of the others | " + " | ".join(f"{share:.1%}" for share in np.mean(away, 0)) + " |")


if __name__ == "__main__":
    print(f"striate {striate.__version__}, Python {platform.python_version()}, {platform.machine()}")
    for one in TASKS:
        measure_task(one, Path(sys.argv[1]))
