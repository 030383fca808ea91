"""Which runtime takes which of our files, and answers as the model does: networks × files × runtimes.

    python bench/runtimes.py                       # all networks: minutes on two cores of one's own
    python bench/runtimes.py --nets lenet5         # one of them
    python bench/runtimes.py --npm FOLDER          # an npm folder that has onnxruntime-node and onnxruntime-web already
    python bench/runtimes.py --table               # write the page's tables again from the results

Each network has drawn weights, BatchNorms measured on the photographs, and a last layer that tells these apart. Its
files are written by `striate.export` and opened in every runtime that is installed; a runtime that is not is "not run".
The photographs are windows of the two that come with scikit-learn. A file of the bare network gets them prepared by
Python; one that resizes by itself gets them as they are. "Wrong" is what breaks `parity.BOUNDS`.

The rows are kept in bench/runtimes.jsonl, a network's anew each time, and the tables go into docs/runtimes.md. Needs
`striate[coreml,executorch,litert]`, opencv-python-headless, openvino, onnx2torch, node and npm, as far as there are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from page import put, read_results
from sklearn.datasets import load_sample_images

import striate
from striate.architecture.net import Net
from striate.data.read.resize import resize_image
from striate.engines import torch as engine
from striate.errors import StriateError
from striate.exporting.parity import BOUNDS, make_model_way
from striate.exporting.runtime_files import RUNTIMES, find_functions
from striate.formats.onnx_file import Card, build_document
from striate.formats.plain_program import silence_converter
from striate.model.model import Model

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "runtimes.jsonl", HERE.parent / "docs" / "runtimes.md"
NPM = ("onnxruntime-node@1.30.0", "onnxruntime-web@1.30.0")
FITS = ("squash", "pad", "crop", "crop 256", "crop 256 bicubic")

SMALL: dict[str, str] = {
    "GroupNorm": "Net((3, 48, 48), [Conv(16, 3), GroupNorm(4), ReLU(), MaxPool(2), Conv(32, 3), GroupNorm(8), GELU(), "
    "GlobalAvgPool(), Dense(10)])",
    "ConvTranspose and Upsample": "Net((3, 32, 32), [Conv(8, 3, stride=2), ReLU(), ConvTranspose(8, 2, stride=2), "
    "LeakyReLU(), Upsample(2), Conv(12, 3, stride=2), ReLU(), GlobalAvgPool(), Dense(10)])",
}
ZOO: dict[str, dict[str, Any]] = {
    "lenet5": {},
    "striate_s": {},
    "striate_m": {},
    "resnet18": {"input": (3, 96, 96)},
    "vgg11": {"classes": 10, "input": (3, 64, 64)},
    "googlenet": {"input": (3, 96, 96)},
    "efficientnet_lite0": {"input": (3, 96, 96)},
    "mobilenet_v2": {"input": (3, 96, 96)},
    "mobilenet_v3_small": {"input": (3, 96, 96)},
    "densenet121": {"input": (3, 96, 96)},
    "convnext_tiny": {"classes": 10, "input": (3, 64, 64)},
}
NETS = (*ZOO, *SMALL)

Answer = Callable[[NDArray], NDArray]


class Reader(NamedTuple):
    """A file in a runtime.

    package  whose version is told; none where `runtime` is part of striate
    bare     whether the file takes prepared pictures, not the pictures themselves
    open     from the file to what answers: float32 1×C×h×w, or uint8 1×H×W×C, -> 1×K
    """

    runtime: str
    package: str | None
    file: str
    bare: bool
    open: Callable[[Path], Answer]


def find_photos() -> list[NDArray]:
    """Eight windows of the two photographs, uint8 H×W×3."""
    whole = load_sample_images().images
    cuts = ((0, 0, 427, 640), (0, 100, 427, 340), (60, 200, 300, 240), (10, 300, 400, 300))
    return [photo[y : y + h, x : x + w] for photo in whole for y, x, h, w in cuts]


def build_model(name: str, photos: list[NDArray]) -> Model:
    """The network with weights that tell the photographs apart."""
    net: Net = striate.parse(SMALL[name]) if name in SMALL else striate.nets.build(name, **ZOO[name])
    c, h, w = net.input
    prepared = striate.Preprocess((h, w), "crop", (0.45,) * c, (0.25,) * c)
    network = engine.build_network(net, seed=0)
    classes = [f"class {k}" for k in range(net.classes)]
    first = striate.Model(net, engine.copy_tensors(network), classes=classes, preprocess=prepared)
    x = torch.from_numpy(np.concatenate([prepare(first, photo) for photo in photos]))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0
        network.train()
        network(x)
        network.eval()
        logits = network(x)
        last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
        scale = 2 / logits.std(0).mean()
        last.weight *= scale
        last.bias.copy_((last.bias - logits.mean(0)) * scale)
    return striate.Model(net, engine.copy_tensors(network), classes=classes, preprocess=prepared)


def prepare(model: Model, photo: NDArray) -> NDArray:
    picture = photo if model.net.input[0] == 3 else make_gray(photo)
    return np.ascontiguousarray(model.standardised(model.prepared(picture)[None]), np.float32)


def make_gray(photo: NDArray) -> NDArray:
    levels = photo @ np.array([0.299, 0.587, 0.114])
    return (levels + 0.5).astype(np.uint8)[..., None]


def write_files(model: Model, folder: Path) -> dict[str, str]:
    """Every file of the model, in `folder`; those that are refused, with the reason."""
    names: list[tuple[str, dict[str, Any]]] = [
        ("full.onnx", {}),
        ("plain.onnx", {"plain": True}),
        ("model.xml", {}),
        ("model.pt2", {}),
        *((f"model{runtime.suffix}", {}) for runtime in RUNTIMES.values()),
    ]
    refused = {}
    for name, options in names:
        try:
            striate.export(model, folder / name, **options)
        except StriateError as e:
            refused[name] = f"{e.what}: {e.got}" if e.got else e.what
    return refused


def list_readers(npm: Path | None) -> list[Reader]:
    return [
        Reader("ONNX Runtime", "onnxruntime", "full.onnx", False, open_onnxruntime),
        Reader("ONNX Runtime", "onnxruntime", "plain.onnx", True, open_onnxruntime),
        Reader("OpenCV dnn", "opencv-python-headless", "full.onnx", False, open_opencv),
        Reader("OpenCV dnn", "opencv-python-headless", "plain.onnx", True, open_opencv),
        Reader("OpenVINO", "openvino", "full.onnx", False, open_openvino),
        Reader("OpenVINO", "openvino", "plain.onnx", True, open_openvino),
        Reader("OpenVINO", "openvino", "model.xml", False, open_openvino),
        Reader("onnx2torch", "onnx2torch", "full.onnx", False, open_onnx2torch),
        Reader("onnx2torch", "onnx2torch", "plain.onnx", True, open_onnx2torch),
        *(
            Reader(package, f"npm:{package}", name, bare, partial(open_npm, npm, package))
            for package in ("onnxruntime-node", "onnxruntime-web")
            for name, bare in (("full.onnx", False), ("plain.onnx", True))
        ),
        Reader("torch", "torch", "model.pt2", False, open_torch),
        Reader("LiteRT", "ai-edge-litert", "model.tflite", True, find_functions("litert")[1]),
        Reader("ExecuTorch", "executorch", "model.pte", True, find_functions("executorch")[1]),
        Reader("Core ML, read back", "coremltools", "model.mlpackage", True, find_functions("coreml")[1]),
        Reader("the page's engine", None, "page", False, open_page),
    ]


def open_onnxruntime(path: Path) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {session.get_inputs()[0].name: x})[0]


def open_opencv(path: Path) -> Answer:
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))

    def answer(x: NDArray) -> NDArray:
        net.setInput(x)
        return net.forward()

    return answer


def open_openvino(path: Path) -> Answer:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: compiled(x)[0]


def open_onnx2torch(path: Path) -> Answer:
    import onnx

    # It imports torchvision for two operators of detection, and that wheel does not load beside a CPU's torch.
    operators = ModuleType("torchvision.ops")
    vars(operators)["roi_align"] = vars(operators)["nms"] = None
    sys.modules.setdefault("torchvision", ModuleType("torchvision"))
    sys.modules.setdefault("torchvision.ops", operators)
    from onnx2torch import convert

    module = convert(onnx.load(path)).eval()

    def answer(x: NDArray) -> NDArray:
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()

    return answer


def open_torch(path: Path) -> Answer:
    from striate.formats.torch_program import read_program

    return read_program(path)


def open_page(folder: Path) -> Answer:
    """`folder` holds the model itself, for the page's payload is made of it."""
    from striate.browser.payload import make_payload
    from striate.exporting.page_file import PageAnswers

    whole = PageAnswers(make_payload(striate.load(folder / "model.safetensors"), None, {})).ways()[1]
    return lambda x: whole(x[0])


ANSWER_IN_NODE = """
const ort = require(process.argv[2]), fs = require("fs");
(async () => {
  const { file, name, type, shape, numbers } = JSON.parse(fs.readFileSync(0));
  const session = await ort.InferenceSession.create(fs.readFileSync(file));
  const bytes = Uint8Array.from(Buffer.from(numbers, "base64"));
  const data = type === "uint8" ? bytes : new Float32Array(bytes.buffer);
  const found = await session.run({ [name]: new ort.Tensor(type, data, shape) });
  console.log(JSON.stringify([...found.probabilities.data]));
  process.exit(0);
})().catch((e) => { console.error(String(e).split("\\n")[0]); process.exit(1); });
"""


def open_npm(npm: Path | None, package: str, path: Path) -> Answer:
    import base64

    if npm is None or not (npm / "node_modules" / package).is_dir():
        raise ModuleNotFoundError(name=package)

    def answer(x: NDArray) -> NDArray:
        numbers = base64.b64encode(np.ascontiguousarray(x).tobytes()).decode()
        name = "images" if x.dtype == np.uint8 else "input"
        given = {"file": str(path), "name": name, "type": str(x.dtype), "shape": x.shape, "numbers": numbers}
        script = npm / "answer.cjs"
        script.write_text(ANSWER_IN_NODE, encoding="utf-8")
        done = subprocess.run(
            ["node", str(script), package], input=json.dumps(given), capture_output=True, text=True, cwd=npm
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it ended")
        return np.array([json.loads(done.stdout)])

    return answer


def install_npm(folder: Path) -> Path | None:
    """An npm folder with both runtimes; None where there is no npm, or nothing comes."""
    if shutil.which("npm") is None:
        return None
    quiet = os.environ | {"ONNXRUNTIME_NODE_INSTALL": "skip"}  # its kernels for GPUs, from another place
    done = subprocess.run(["npm", "install", "--silent", *NPM], cwd=folder, env=quiet, capture_output=True)
    return folder if done.returncode == 0 else None


def tell_version(package: str | None, npm: Path | None) -> str:
    if package is None:
        return striate.__version__
    if package.startswith("npm:"):
        told = npm and npm / "node_modules" / package.removeprefix("npm:") / "package.json"
        return json.loads(told.read_text())["version"] if told and told.is_file() else "not installed"
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return "not installed"


def try_reader(reader: Reader, model: Model, folder: Path, refused: dict[str, str], photos: list[NDArray]) -> dict:
    """One row: whether the runtime reads the file, and how far its answers are from the model's at the most."""
    row: dict[str, Any] = {"state": "refused", "difference": None, "why": refused.get(reader.file)}
    if reader.file in refused:
        return row | ({"state": "not run"} if "is not installed" in refused[reader.file] else {})
    reference, worst = make_model_way(model), 0.0
    try:
        with silence_converter():
            answer = reader.open(folder if reader.file == "page" else folder / reader.file)
            for photo in photos:
                picture = photo if model.net.input[0] == 3 else make_gray(photo)
                given = prepare(model, photo) if reader.bare else np.ascontiguousarray(picture[None])
                found, want = np.asarray(answer(given)).reshape(1, -1), reference.whole(picture)
                if found.shape != want.shape:
                    return row | {"state": "wrong", "why": f"{found.size} numbers for {want.size} classes"}
                worst = max(worst, float(np.abs(found - want).max()))
    except ModuleNotFoundError as e:
        return row | {"state": "not run", "why": f"{e.name} is not installed"}
    except Exception as e:  # the runtimes' own errors share no base class
        return row | {"why": find_reason(e)}
    bound = BOUNDS["float32"][0 if reader.bare else 1]
    return row | {"state": "read" if worst <= bound.difference else "wrong", "difference": worst}


def find_reason(error: Exception) -> str:
    """The first line of a message, or the one that OpenCV marks as the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    causes = [line.strip("> ") for line in lines if line.startswith("> >")] or lines
    return f"{type(error).__name__}: {causes[0]}"[:200]


def try_net(name: str, npm: Path | None, photos: list[NDArray]) -> Iterator[dict[str, Any]]:
    made_by = f"striate {striate.__version__}, Python {platform.python_version()}, {platform.machine()} CPU"
    model = build_model(name, photos)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        refused = write_files(model, folder)
        model.save(folder / "model.safetensors")
        for reader in list_readers(npm):
            row = try_reader(reader, model, folder, refused, photos)
            told = {"runtime": reader.runtime, "version": tell_version(reader.package, npm), "file": reader.file}
            yield {"net": name, **told, **row, "made_by": made_by}


def measure_levels(photos: list[NDArray]) -> Iterator[dict[str, Any]]:
    """How many of 255 levels the full file's resizing is off Pillow's at 224×224, in each runtime that can tell."""
    from onnx import TensorProto, helper

    net = striate.parse("Net((3, 224, 224), [GlobalAvgPool(), Dense(2)])")
    tensors = engine.copy_tensors(engine.build_network(net))
    for fit in FITS:
        card = Card(
            classes=("a", "b"), channels=3, preprocess=striate.Preprocess((224, 224), fit, (0.0,) * 3, (1.0,) * 3)
        )
        document = build_document(net, tensors, card)
        document.graph.output.insert(0, helper.make_tensor_value_info("/levels", TensorProto.FLOAT, ("N", 3, 224, 224)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "levels.onnx"
            path.write_bytes(document.SerializeToString())
            for runtime, package, opener in (
                ("ONNX Runtime", "onnxruntime", open_onnxruntime),
                ("OpenVINO", "openvino", open_openvino),
            ):
                row = {"runtime": runtime, "version": tell_version(package, None), "fit": fit}
                try:
                    answer = opener(path)
                except ModuleNotFoundError:
                    yield row | {"most": None, "mean": None}
                    continue
                off = [
                    np.abs(answer(photo[None])[0] - resize_image(photo, (224, 224), fit).transpose(2, 0, 1))
                    for photo in map(np.ascontiguousarray, photos)
                ]
                yield row | {"most": float(max(one.max() for one in off)), "mean": float(np.mean([*map(np.mean, off)]))}


def write_table(rows: list[dict[str, Any]]) -> str:
    """A line a runtime and file."""
    lines = [
        "| runtime | version | file | read | largest difference | wrong | refused |",
        "|---|---|---|---:|---:|---|---|",
    ]
    tried = [row for row in rows if "net" in row]
    for runtime, file in dict.fromkeys((row["runtime"], row["file"]) for row in tried):
        own = [row for row in tried if (row["runtime"], row["file"]) == (runtime, file)]
        ran = [row for row in own if row["state"] != "not run"]
        good = [row["difference"] for row in own if row["state"] == "read"]
        wrong = list_wrong(own)
        read = f"{len(good)} of {len(ran)}" if ran else "not run"
        cells = (runtime, own[0]["version"], f"`{file}`", read, f"{max(good):.1g}" if good else "", wrong)
        lines.append("| " + " | ".join(cells) + f" | {list_refusals(own)} |")
    nets = list(dict.fromkeys(row["net"] for row in tried))
    makers = " and ".join(sorted({row["made_by"] for row in tried}))
    return "\n".join([*lines, "", f"Networks: {', '.join(nets)}. Made by {makers}."])


def list_wrong(rows: list[dict[str, Any]]) -> str:
    """The networks that are answered wrongly, and by how much."""
    wrong = [row for row in rows if row["state"] == "wrong"]
    told = ["of another shape" if row["difference"] is None else f"{row['difference']:.2g}" for row in wrong]
    if wrong and len(wrong) == len(rows):
        return f"all ({told[0]})" if len(set(told)) == 1 else f"all (by {min(told)} to {max(told)})"
    return ", ".join(f"{row['net']} ({how})" for row, how in zip(wrong, told, strict=True))


def list_refusals(rows: list[dict[str, Any]]) -> str:
    """The refused networks by their reason."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["state"] == "refused":
            reasons.setdefault(str(row["why"]).replace("|", "/").replace("\n", " ")[:160], []).append(row["net"])
    return "; ".join(
        f"{'all' if len(nets) == len(rows) else ', '.join(nets)}: “{why}”" for why, nets in reasons.items()
    )


def write_levels(rows: list[dict[str, Any]]) -> str:
    lines = ["| resizing by | version | " + " | ".join(FITS) + " |", "|---|---|" + "---:|" * len(FITS)]
    told = [row for row in rows if "fit" in row]
    for runtime in dict.fromkeys(row["runtime"] for row in told):
        own = {row["fit"]: row for row in told if row["runtime"] == runtime}
        cells = [
            f"{own[f]['most']:.0f} ({own[f]['mean']:.2f})" if own[f]["most"] is not None else "not run" for f in FITS
        ]
        lines.append(f"| {runtime} | {own[FITS[0]]['version']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", help="names, joined by a semicolon; all where not given")
    parser.add_argument("--npm", type=Path, help="a folder with node_modules; installed where not given")
    parser.add_argument("--table", action="store_true", help="write the tables from what there is, try nothing")
    given = parser.parse_args()
    if not given.table:
        photos = find_photos()
        with tempfile.TemporaryDirectory() as place:
            npm = (given.npm.resolve() if given.npm else None) or install_npm(Path(place))
            for name in given.nets.split(";") if given.nets else NETS:
                found = list(try_net(name, npm, photos[::2]))
                keep_results([row for row in read_results(RESULTS) if row.get("net") != name] + found)
                for row in found:
                    print(json.dumps(row), file=sys.stderr, flush=True)
            keep_results([row for row in read_results(RESULTS) if "net" in row] + list(measure_levels(photos)))
    rows = sorted(read_results(RESULTS), key=lambda row: NETS.index(row["net"]) if "net" in row else len(NETS))
    print(write_table(rows), write_levels(rows), sep="\n\n")
    put(PAGE, "runtimes.py", write_table(rows))
    put(PAGE, "runtimes.py, levels", write_levels(rows))


def keep_results(rows: list[dict[str, Any]]) -> None:
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
