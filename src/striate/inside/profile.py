"""Where a network's time goes: each layer's milliseconds in torch and in ONNX Runtime, beside its MACs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import format_shape
from ..architecture.net import Net
from ..engines import onnx, plain
from ..errors import StriateError
from ..language import say, say_count
from ..summaries.summary import summarise_net
from ..terminal import measure_width, pad_left, pad_right

# The square matrices whose product gives the peak, and how often it is taken: 2 billion operations each, so short that
# some go undisturbed.
PEAK_SIDE, PEAK_ROUNDS = 1024, 40
# Layers that compute nothing in evaluation.
IDLE_KINDS = ("Identity", "Dropout", "StochasticDepth", "SideHead")
# What ONNX Runtime calls a kernel: the output of the last node that went into it, with what it did to it.
KERNEL_SUFFIX, BLOCKED_SUFFIX, FUSED_PREFIX = "_kernel_time", "_nchwc", "fused "
# Kernels that it names by themselves, and the layers that they are.
NAMELESS_KERNELS = {"Gelu": "GELU"}


class LayerTime(NamedTuple):
    """One layer's time for a whole batch.

    path, kind, output  as in the summary; macs  of one image
    torch  milliseconds in torch, without what its own layers inside take; None where torch is not installed
    onnx   milliseconds in ONNX Runtime; 0 where it computes nothing of its own
    fused  the layer into whose kernel ONNX Runtime has fused this one; "" where it has one itself, or needs none
    """

    path: str
    kind: str
    output: tuple[int, ...]
    macs: int
    torch: float | None
    onnx: float
    fused: str = ""


@dataclass(frozen=True)
class NetProfile:
    """The times of a net, medians of several runs.

    rows       a layer each, in the order of the summary
    other      milliseconds of ONNX Runtime's kernels that belong to no one layer, by their kind: changes of layout,
               and operators that it made out of several
    torch, onnx  milliseconds of a whole run, measured without looking at the layers
    peak       10⁹ floating-point operations a second of this machine's matrix product, on as many threads
    """

    name: str
    batch: int
    threads: int
    runs: int
    rows: tuple[LayerTime, ...]
    other: dict[str, float]
    torch: float | None
    onnx: float
    peak: float
    machine: str

    @property
    def macs(self) -> int:
        """Of one image."""
        return sum(row.macs for row in self.rows)

    def efficiency(self, macs: int, milliseconds: float | None) -> float | None:
        """The share of the peak that so many MACs an image reach, a MAC being two operations; None for no time."""
        return 2 * macs * self.batch / (milliseconds * 1e6) / self.peak if milliseconds else None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data."""
        return asdict(self) | {"rows": [row._asdict() for row in self.rows], "macs": self.macs}

    def __str__(self) -> str:
        head = (say("layer"), "", say("output"), "MACs", "torch ms", "", say("of peak"), "onnx ms", "", say("of peak"))
        lines = [head, *(self.format_row(row) for row in self.rows)]
        lines += [(f"({kind})", "", "", "", "", "", "", f"{ms:.3f}", f"{ms / self.onnx:.1%}", "") for kind, ms in
                  self.other.items()]  # fmt: skip
        total = LayerTime(say("one whole run"), "", (), self.macs, self.torch, self.onnx)
        wide = [max(measure_width(line[i]) for line in [*lines, self.format_row(total)]) for i in range(len(head))]

        def lay_out(line: tuple[str, ...]) -> str:
            left = (pad_right(line[0], wide[0]), pad_right(line[1], wide[1]), pad_left(line[2], wide[2]))
            return "  ".join([*left, *map(pad_left, line[3:], wide[3:])]).rstrip()

        body = [lay_out(line) for line in lines]
        rule = "─" * max(map(measure_width, body))
        title = say_count(
            "{name}: a batch of {batch}, {n} thread, medians of {runs} runs",
            "{name}: a batch of {batch}, {n} threads, medians of {runs} runs",
            self.threads,
            name=self.name,
            batch=self.batch,
            runs=self.runs,
        )
        foot = say(
            "{machine}; the peak, {peak:.0f} GFLOPS, is that of its float32 matrix product",
            machine=self.machine,
            peak=self.peak,
        )
        return "\n".join([title, body[0], rule, *body[1:], rule, lay_out(self.format_row(total)), foot])

    def format_row(self, row: LayerTime) -> tuple[str, ...]:
        cells = [
            row.path,
            row.kind,
            format_shape(row.output) if row.output else "",
            f"{row.macs:,}" if row.macs else "",
        ]
        for ms, whole in ((row.torch, self.torch), (None if row.fused else row.onnx, self.onnx)):
            share = self.efficiency(row.macs, ms)
            cells += [
                "" if not ms else f"{ms:.3f}",
                "" if not ms or not whole else f"{ms / whole:.1%}",
                "" if not share else f"{share:.0%}",
            ]
        if row.fused:
            cells[7] = say("in {layer}", layer=row.fused.rsplit(".", 1)[-1])
        return tuple(cells)


def profile_net(
    net: Net, tensors: Mapping[str, NDArray] | None = None, batch: int = 1, threads: int = 1, runs: int = 10
) -> NetProfile:
    """Run `net` on random images in torch, where it is installed, and in ONNX Runtime, and time each layer.

    tensors  its weights; None draws fresh ones: the time does not depend on them
    threads  of both; one core alone is what can be compared, for several wait for each other
    A layer's torch time is measured around its module and comes with the cost of looking, some microseconds; ONNX
    Runtime's is what its own profiler says of its kernels, each of which may hold several layers: a convolution, its
    BatchNorm and its ReLU. Raises StriateError for numbers below 1.

    >>> from striate.architecture import zoo
    >>> found = profile_net(zoo.build("lenet5"), runs=2)
    >>> found.macs, [row.path for row in found.rows][:3]
    (416520, ['conv1', 'relu1', 'pool1'])
    """
    for name, value in (("batch", batch), ("threads", threads), ("runs", runs)):
        if value < 1:
            raise StriateError(name, say("this must be 1 or more"), got=value)
    given = {name: value.astype(np.float32) for name, value in (tensors or plain.draw_tensors(net, 0)).items()}
    x = np.random.default_rng(0).standard_normal((batch, *net.input)).astype(np.float32)
    kernels, whole = time_kernels(net, given, x, threads, runs)
    modules, together = time_modules(net, given, x, threads, runs)
    leaves = [row for row in summarise_net(net).rows if not row.side and row.kind != "Sequence"]
    own, fused, other = share_out_kernels([(row.path, row.kind) for row in leaves], kernels)
    rows = [
        LayerTime(
            row.path, row.kind, row.y, 0 if row.inside else row.macs,
            None if modules is None else modules.get(row.path, 0.0), own.get(row.path, 0.0), fused.get(row.path, ""),
        )
        for row in leaves
    ]  # fmt: skip
    timed = tuple(row for row in rows if row.kind not in IDLE_KINDS)
    peak = measure_peak(threads)
    packages = ("onnxruntime", "striate") if modules is None else ("torch", "onnxruntime", "striate")
    return NetProfile(net.name, batch, threads, runs, timed, other, together, whole, peak, describe_machine(packages))


def describe_machine(packages: Sequence[str]) -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def measure_median(run: Callable[[], Any], runs: int) -> float:
    return statistics.median(measure_times(run, runs))


def measure_times(run: Callable[[], Any], runs: int) -> list[float]:
    """The milliseconds of each of so many calls, after one that is not counted."""
    run()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1e3)
    return times


def measure_peak(threads: int) -> float:
    """10⁹ operations a second of the best of a few products of two float32 matrices, by ONNX Runtime."""
    from onnx import TensorProto, helper

    shape = (PEAK_SIDE, PEAK_SIDE)
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab")
    product = helper.make_node("MatMul", ["a", "b"], ["c"])
    out = helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)
    opset = [helper.make_opsetid("", onnx.OPSET)]
    graph = helper.make_graph([product], "peak", [a, b], [out])
    session = onnx.open_session(helper.make_model(graph, opset_imports=opset, ir_version=onnx.IR_VERSION), threads)
    given = {name: np.full(shape, 0.5, np.float32) for name in "ab"}
    best = min(measure_times(lambda: session.run(None, given), PEAK_ROUNDS))
    return 2 * PEAK_SIDE**3 / (best * 1e6)


# ONNX Runtime ------------------------------------------------------------------------------------------


def time_kernels(
    net: Net, tensors: Mapping[str, NDArray], x: NDArray, threads: int, runs: int
) -> tuple[dict[tuple[str, str], float], float]:
    """The median milliseconds of each kernel by its name and its kind, in their order, and of a whole run."""
    model = onnx.build_graph(net, tensors)
    session = onnx.open_session(model, threads)
    whole = measure_median(lambda: session.run(None, {onnx.NET_INPUT: x}), runs)
    with tempfile.TemporaryDirectory() as folder:
        watched = onnx.open_session(model, threads, profile=Path(folder) / "run")
        for _ in range(runs + 1):
            watched.run(None, {onnx.NET_INPUT: x})
        events = json.loads(Path(watched.end_profiling()).read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL_SUFFIX):
            name = event["name"].removesuffix(KERNEL_SUFFIX)
            times.setdefault((name, event["args"]["op_name"]), []).append(event["dur"] / 1e3)
    return {kernel: statistics.median(found[1:] or found) for kernel, found in times.items()}, whole


def share_out_kernels(
    layers: list[tuple[str, str]], kernels: Mapping[tuple[str, str], float]
) -> tuple[dict[str, float], dict[str, str], dict[str, float]]:
    """Each layer's own milliseconds; for a layer without a kernel, the one in whose kernel it is; and the rest by kind.

    layers  paths and kinds in their order
    A kernel has the name of the last layer in it, and that layer's predecessors without one are in it too: the time
    goes to the first of them, which is the convolution. A "fused" one has the name of its first layer, a dense one, and
    the activation after it is in it.
    """
    paths = [path for path, _ in layers]
    named: dict[str, float] = {}
    other: dict[str, float] = {}
    fused: dict[str, str] = {}
    place = -1
    for (name, kind), ms in kernels.items():
        path = find_kernel_layer(name.removeprefix(FUSED_PREFIX), paths)
        path = path or find_nameless_layer(kind, layers[place + 1 :], named)
        if path is None:
            other[kind] = other.get(kind, 0.0) + ms
        else:
            named[path], place = named.get(path, 0.0) + ms, paths.index(path)
            fused |= {later: path for later in paths[place + 1 : place + 2] if name.startswith(FUSED_PREFIX)}
    own: dict[str, float] = {}
    waiting: list[str] = []
    for path in (path for path in paths if path not in fused):
        waiting.append(path)
        if path in named:
            group = keep_one_chain(waiting, path)
            own[group[0]] = named[path]
            fused |= {later: group[0] for later in group[1:]}
            waiting = []
    return own, fused, other


def find_nameless_layer(kind: str, layers: list[tuple[str, str]], named: Mapping[str, float]) -> str | None:
    """The next layer that a kernel without a layer's name computes: ONNX Runtime made it out of several operators."""
    wanted = NAMELESS_KERNELS.get(kind)
    return next((path for path, own in layers if own == wanted and path not in named), None)


def keep_one_chain(waiting: list[str], path: str) -> list[str]:
    """Of the layers without a kernel before `path` those that stand in the same sequence as it, and itself."""
    holder = path.rpartition(".")[0]
    group: list[str] = []
    for one in reversed(waiting):
        if one.rpartition(".")[0] != holder:
            break
        group.append(one)
    return group[::-1]


def find_kernel_layer(name: str, paths: list[str]) -> str | None:
    """The layer that a kernel computes: the longest path that its name is, or begins with before a slash."""
    stem = name.split(BLOCKED_SUFFIX)[0]
    if stem == onnx.NET_OUTPUT:
        return paths[-1]
    known = set(paths)
    while stem:
        if stem in known:
            return stem
        stem = stem.rpartition("/")[0]
    return None


# torch -------------------------------------------------------------------------------------------------


def time_modules(
    net: Net, tensors: Mapping[str, NDArray], x: NDArray, threads: int, runs: int
) -> tuple[dict[str, float] | None, float | None]:
    """The median milliseconds of each layer's module without its own layers inside, and of a whole run.

    None and None where torch is not installed.
    """
    try:
        import torch
    except ImportError:
        return None, None

    from ..engines.torch import build_network, load_tensors

    network = load_tensors(build_network(net), tensors).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.from_numpy(x).to(memory_format=torch.channels_last) if x.ndim == 4 else torch.from_numpy(x)
    paths = [step.path for step in net.steps if not step.side]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            whole = measure_median(lambda: network(image), runs)
            seen = [time_each_module(network, paths, image) for _ in range(runs + 1)][1:]
    finally:
        torch.set_num_threads(before)
    spent = {path: statistics.median(one[path] for one in seen) for path in paths if path in seen[0]}
    return {path: max(0.0, ms - sum_inside(path, spent)) for path, ms in spent.items()}, whole


def sum_inside(path: str, spent: Mapping[str, float]) -> float:
    """The milliseconds of the layers that stand right within the one at `path`."""
    return sum(ms for other, ms in spent.items() if other.rpartition(".")[0] == path)


def time_each_module(network: Any, paths: Iterable[str], x: Any) -> dict[str, float]:
    """Each module's milliseconds in one run, with what is inside it."""
    began: dict[str, float] = {}
    spent: dict[str, float] = {}
    hooks = []
    for path in paths:
        module = network.at(path)
        start = lambda *_, path=path: began.__setitem__(path, time.perf_counter())  # noqa: E731
        end = lambda *_, path=path: spent.__setitem__(path, (time.perf_counter() - began[path]) * 1e3)  # noqa: E731
        hooks += [module.register_forward_pre_hook(start), module.register_forward_hook(end)]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return spent
