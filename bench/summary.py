"""The cost of a network's summary: ours beside other tools', on the same networks in the same run.

    python bench/summary.py                       # resnet152, mobilenet_v2, densenet121
    python bench/summary.py vgg16 --tools striate,torchinfo

Each tool runs in a process of its own, on a model that is already built: CPU seconds are the least of five runs after
one to warm up, memory is the peak of the process during the first run less what it had before. The MACs that each
reports stand beside, for they differ. Needs torch, torchvision and the tools:
pip install torchinfo fvcore ptflops torchview torchlens
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOOLS = ["striate record", "striate module", "torchinfo", "fvcore", "ptflops", "torchview", "torchlens"]
NETS = ["resnet152", "mobilenet_v2", "densenet121"]
RUNS = 5


def record(name: str) -> Callable[[], Any]:
    """Ours from a record: no torch in the process."""
    from striate import nets
    from striate.summaries.summary import summarise_net

    net = nets.build(name)
    assert "torch" not in sys.modules
    return lambda: summarise_net(net).macs


def module(name: str) -> Any:
    """torchvision's network in evaluation, with random weights."""
    import torch

    from striate.model.timm_models import import_torchvision

    import_torchvision()
    import torchvision

    torch.set_num_threads(1)
    return getattr(torchvision.models, name)().eval()


def ours(model: Any) -> Callable[[], Any]:
    from striate.summaries.module_summary import summarise_module

    return lambda: summarise_module(model, (3, 224, 224)).macs


def torchinfo(model: Any) -> Callable[[], Any]:
    from torchinfo import summary

    return lambda: summary(model, input_size=(1, 3, 224, 224), verbose=0).total_mult_adds


def fvcore(model: Any) -> Callable[[], Any]:
    import logging

    import torch
    from fvcore.nn import FlopCountAnalysis

    logging.disable(logging.WARNING)
    return lambda: FlopCountAnalysis(model, torch.zeros(1, 3, 224, 224)).unsupported_ops_warnings(False).total()


def ptflops(model: Any) -> Callable[[], Any]:
    from ptflops import get_model_complexity_info

    return lambda: get_model_complexity_info(
        model, (3, 224, 224), print_per_layer_stat=False, as_strings=False, verbose=False
    )[0]


def torchview(model: Any) -> Callable[[], Any]:
    from torchview import draw_graph

    def run() -> None:
        """It draws the graph of shapes and counts no MACs."""
        draw_graph(model, input_size=(1, 3, 224, 224), device="meta", expand_nested=True)

    model.to("meta")
    return run


def torchlens(model: Any) -> Callable[[], Any]:
    import torch
    import torchlens as lens

    nothing = lens.options.CaptureOptions(layers_to_save="none")
    return lambda: int(lens.trace(model, torch.zeros(1, 3, 224, 224), capture=nothing).total_macs_forward)


def resident(key: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at its peak since the last reset (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(tool: str, name: str) -> dict[str, Any]:
    """One tool on one network, in this process."""
    warnings.simplefilter("ignore")
    run = record(name) if tool == "striate record" else BY_NAME[tool](module(name))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    macs = run()
    peak = resident("VmHWM") - before
    seconds = []
    for _ in range(RUNS):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return {"seconds": min(seconds), "bytes": max(0, peak), "macs": macs}


BY_NAME: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "striate module": ours,
    "torchinfo": torchinfo,
    "fvcore": fvcore,
    "ptflops": ptflops,
    "torchview": torchview,
    "torchlens": torchlens,
}


def apart(tool: str, name: str) -> dict[str, Any]:
    """`measured` in a process of its own, with its last line of output as the answer."""
    command = [sys.executable, __file__, name, "--one", tool]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(lines[-1])


def versions() -> str:
    names = ["striate", "torch", "torchvision", "torchinfo", "fvcore", "ptflops", "torchview", "torchlens"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=NETS)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.nets[0])))
        return
    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}; {versions()}\n")
    print("| network | tool | CPU ms | × record | × module | peak MiB | MACs reported |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in options.nets:
        rows = {tool: apart(tool, name) for tool in options.tools.split(",")}
        for tool, row in rows.items():
            if "failed" in row:
                print(f"| {name} | {tool} | failed: {row['failed'][:80]} | | | | |")
                continue
            ratios = [
                f"{row['seconds'] / rows[base]['seconds']:,.2f}" if "seconds" in rows.get(base, {}) else ""
                for base in ("striate record", "striate module")
            ]
            macs = "" if row["macs"] is None else f"{int(row['macs']):,}"
            cells = [name, tool, f"{1000 * row['seconds']:,.1f}", *ratios, f"{row['bytes'] / 2**20:,.1f}", macs]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
