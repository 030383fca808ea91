"""Prediction end to end, beside plain loops in PyTorch and ONNX Runtime: images a second from JPEGs, and cold start.

    python bench/predict.py photos/                        # EfficientNet-Lite0 on all photos of a folder
    python bench/predict.py photos/ --rounds 5 --ways "striate,torch"

Each way runs in a process of its own, and all of them in turn, several rounds; the best round counts. "Cold start" is
the CPU time of a whole process that answers for one photo. The ways:

    striate            `striate predict model.onnx`, in Python: a worker a core, each image all the way
    striate int8       the same file quantised, `striate export --int8`
    onnxruntime        a plain loop: Pillow, one image after the other, a session with its own threads
    onnxruntime batch  the same in batches of 32 that a thread pool decodes before they are computed
    torch              eager PyTorch, float32, Pillow, one image after the other
    torch batch        the same in batches of 32 from a DataLoader-like thread pool

Needs `striate[lite0]`. The plain loops prepare an image as the published network asks for: shorter side 256, bicubic,
the middle 224.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

WAYS = ["striate", "striate int8", "onnxruntime", "onnxruntime int8", "onnxruntime batch", "torch", "torch batch"]
MEAN, STD = 127 / 255, 128 / 255


def by_striate(model: str) -> Callable[[list[str]], list[int]]:
    from striate.model.exported import load_exported

    shipped = load_exported(model)
    place = {name: k for k, name in enumerate(shipped.classes)}
    return lambda files: [place[answer.label] for answer in shipped.predict_files(files, top=1)]  # type: ignore[union-attr]


def pixels(file: str) -> Any:
    """As the network's authors prepare an image, with plain Pillow: uint8 224×224×3."""
    import numpy as np
    from PIL import Image

    with Image.open(file) as opened:
        image = opened.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def in_batches(files: list[str], run: Callable[[Any], Iterable[int]], size: int) -> list[int]:
    import numpy as np

    with ThreadPoolExecutor() as pool:
        groups = [files[i : i + size] for i in range(0, len(files), size)]
        return [k for group in groups for k in run(np.stack(list(pool.map(pixels, group))))]


def by_onnxruntime(model: str, batch: int) -> Callable[[list[str]], list[int]]:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def run(x: Any) -> list[int]:
        framed = np.zeros((len(x), 256, 256, 3), np.uint8)
        framed[:, 16:240, 16:240] = x
        return list(session.run(None, {"images": framed})[0].argmax(1))

    if batch == 1:
        return lambda files: [k for file in files for k in run(pixels(file)[None])]
    return lambda files: in_batches(files, run, batch)


def by_torch(batch: int) -> Callable[[list[str]], list[int]]:
    import torch

    from striate.engines.torch import build_network
    from striate.engines.torch import load_tensors as with_tensors
    from striate.model.published import load_packaged

    found = load_packaged("efficientnet_lite0")
    network = with_tensors(build_network(found.net), found.tensors).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(x: Any) -> list[int]:
        with torch.inference_mode():
            y = torch.from_numpy(x).permute(0, 3, 1, 2).float().div_(255).sub_(MEAN).div_(STD)
            return network.logits(y.contiguous(memory_format=torch.channels_last)).argmax(1).tolist()

    if batch == 1:
        return lambda files: [k for file in files for k in run(pixels(file)[None])]
    return lambda files: in_batches(files, run, batch)


def way(name: str, model: str) -> Callable[[list[str]], list[int]]:
    if name.startswith("striate"):
        return by_striate(model)
    batch = 32 if name.endswith("batch") else 1
    return by_onnxruntime(model, batch) if name.startswith("onnxruntime") else by_torch(batch)


def measured(name: str, model: str, files: list[str]) -> dict[str, Any]:
    """One way in this process: its first answer, then all files once more."""
    run = way(name, model)
    run(files[:1])
    used = resource.getrusage(resource.RUSAGE_SELF)
    cold = used.ru_utime + used.ru_stime
    if len(files) == 1:
        return {"cold": cold}
    run(files[:16])
    wall, cpu = time.perf_counter(), time.process_time()
    classes = run(files)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "classes": list(map(int, classes))}


def apart(name: str, model: str, files: list[str]) -> dict[str, Any]:
    """`measured` in a process of its own."""
    words = [sys.executable, __file__, "--one", name, "--model", model]
    done = subprocess.run(words, input="\n".join(files), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def exported(folder: Path, photos: Path) -> dict[str, str]:
    """EfficientNet-Lite0 as float32 and as int8 file, calibrated by 64 of the photos."""
    import numpy as np

    import striate
    from striate.data.sources.folder import list_image_files
    from striate.model.exported import add_frame

    model = striate.load("efficientnet_lite0")
    made = {"float32": str(folder / "float32.onnx"), "int8": str(folder / "int8.onnx")}
    files = list(list_image_files([str(photos)]))
    model.export(made["float32"])
    x = np.stack([model.prepared(file) for file in files[:: max(1, len(files) // 64)][:64]])
    model.export(made["int8"], int8=list(add_frame(x, model.preprocess)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.model, sys.stdin.read().splitlines())))
        return
    from striate.data.sources.folder import list_image_files

    files = list(list_image_files([str(options.photos)]))
    names = options.ways.split(",")
    best: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = exported(Path(folder), options.photos)
        sizes = {kind: Path(path).stat().st_size / 1e6 for kind, path in made.items()}
        for _ in range(options.rounds):
            for name in names:
                model = made["int8" if "int8" in name else "float32"]
                found = apart(name, model, files) | apart(name, model, files[:1])
                kept = best.setdefault(name, found)
                best[name] = found | {key: min(kept[key], found[key]) for key in ("wall", "cpu", "cold")}
    print(f"{len(files)} photos, {os.cpu_count()} cores, Python {platform.python_version()}; ", end="")
    print(", ".join(f"{kind} file {size:.1f} MB" for kind, size in sizes.items()) + "\n")
    first = best[names[0]]
    print("| way | images/s | × | CPU ms an image | cold start, CPU s | same class as the first |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        row = best[name]
        same = sum(a == b for a, b in zip(row["classes"], first["classes"], strict=True)) / len(files)
        cells = [f"{len(files) / row['wall']:.1f}", f"{row['wall'] / first['wall']:.2f}"]
        cells += [f"{1000 * row['cpu'] / len(files):.1f}", f"{row['cold']:.2f}", f"{same:.1%}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
