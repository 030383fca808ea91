"""The engine that ships: a Net and its tensors as an ONNX graph, run by ONNX Runtime. No torch anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..architecture.abilities import ONNX
from ..architecture.layers import format_shape
from ..architecture.net import Net, check_tensors
from ..errors import NetError, ShapeError, suggest_name
from ..language import say
from .onnx_layers import NET_INPUT, NET_OUTPUT, Draft, Node, write_layers
from .views import list_views as looks

if TYPE_CHECKING:
    import onnx
    import onnxruntime

# The first opset whose Resize has an antialiasing filter, which the exported file needs (LayerNormalization came with
# 17). ONNX Runtime implements it since 1.14, February 2023, by its own notes; run here with later ones only.
OPSET, IR_VERSION = 18, 8
# Constants up to so many bytes stand in the model itself: ONNX infers shapes from such, and not from what is outside.
INNER_BYTES = 1024

# From so many bytes of weights on, a net that runs once is handed them as inputs.
FED_BYTES = 64 << 20


def build_graph(
    net: Net,
    tensors: Mapping[str, np.ndarray],
    *,
    outputs: Iterable[str] = (),
    fold: bool = True,
    views: str = "plain",
) -> onnx.ModelProto:
    """`net` as an ONNX graph in evaluation: `image` float32 N×C×H×W -> `y`, and the maps at `outputs`.

    tensors  an array for each of `net.tensors`; it is stored as float32
    outputs  paths of layers whose maps become outputs too, after `y`, in this order
    views    what `y` is the mean over (engines.views); with several views there are no other outputs
    fold     put each BatchNorm into the Conv or Dense just before it where nobody else reads that layer's map
    Raises ModelError where the tensors are not the net's, NetError for a path without a map in evaluation.
    """
    draft, values = draft_graph(net, tensors, outputs, fold, views)
    return assemble_model(draft, [make_value_info(NET_INPUT, net.input)], values, net.name)


def open_net(
    net: Net,
    tensors: Mapping[str, np.ndarray],
    *,
    outputs: Iterable[str] = (),
    fold: bool = True,
    views: str = "plain",
    threads: int | None = None,
) -> onnxruntime.InferenceSession:
    """A session of the graph that `build_graph` makes, its weights handed over as they lie in memory.

    Through a model's bytes VGG-16's 0.5 GB would be copied five times. A net with a layer of the user's own that has no
    ONNX operators is run by torch in the session's place. Raises as `build_graph` does.
    """
    if needs_torch(net):
        from .torch import TorchSession

        return TorchSession(net, tensors, NET_INPUT, outputs, views)  # type: ignore[return-value]
    draft, values = draft_graph(net, tensors, outputs, fold, views)
    large = list_large(draft)
    model = assemble_model(draft, [make_value_info(NET_INPUT, net.input)], values, net.name, large)
    return open_session(model, threads, large)


def needs_torch(net: Net) -> bool:
    """Whether a layer of the user's own has no ONNX operators."""
    return any(type(step.layer) in ONNX.reasons and type(step.layer) not in ONNX.cells for step in net.steps)


def list_large(draft: Draft) -> dict[str, np.ndarray]:
    """The constants that are handed over beside the model."""
    return {name: array for name, array in draft.list_read().items() if array.nbytes > INNER_BYTES}


def draft_graph(
    net: Net, tensors: Mapping[str, np.ndarray], outputs: Iterable[str], fold: bool, views: str
) -> tuple[Draft, list[onnx.ValueInfoProto]]:
    """The graph of `build_graph` before it is a model, and its outputs."""
    paths = list(dict.fromkeys(outputs))
    check_tensors(net, {name: tensor.shape for name, tensor in tensors.items()})
    check_paths(net, paths)
    draft = Draft(tensors)
    assert views == "plain" or not paths, "a map is of one view"
    named = draft_views(draft, net, NET_INPUT, NET_OUTPUT, views, paths, fold)
    shapes = {NET_OUTPUT: net.output} | {named[path]: net.at(path).y for path in paths}
    return draft, [make_value_info(name, shape) for name, shape in shapes.items()]


def check_paths(net: Net, paths: Iterable[str]) -> None:
    """Raise NetError unless each path is that of a layer with a map in evaluation."""
    for path in paths:
        if net.at(path).side:
            hint = suggest_name(path, [step.path for step in net.steps if not step.side])
            raise NetError(path, say("a side head is computed in training alone: it has no map here"), hint=hint)


def draft_net(
    draft: Draft, net: Net, x: str, result: str, paths: Iterable[str] = (), fold: bool = True
) -> dict[str, str]:
    """Write `net`, from the value `x` to the value `result`, into `draft`.

    Returns the names of the maps at `paths`: each has one of its own, a graph's output.
    """
    end = write_layers(net.body, draft, "", x, net.input)
    if fold:
        fold_batch_norms(draft, {end, *(draft.maps[path] for path in paths)})
    # A layer that computes nothing in evaluation shares its map with the one before it.
    taken = {x}
    named = {}
    for path in paths:
        name = draft.maps[path]
        named[path] = name = draft.node("Identity", f"{path}/output", name) if name in taken else name
        taken.add(name)
    if end in taken:
        draft.nodes.append(Node("Identity", (end,), result, {}))
    else:
        draft.nodes = [rename_value(node, end, result) for node in draft.nodes]
    return named


def draft_views(
    draft: Draft, net: Net, x: str, result: str, views: str, paths: Iterable[str] = (), fold: bool = True
) -> dict[str, str]:
    """Write `net` as `draft_net` does, its output being the mean over `views` of x: one batch of them all."""
    if views == "plain":
        return draft_net(draft, net, x, result, paths, fold)
    _, height, width = net.input
    seen = looks(views, (height, width))
    made = []
    for k, view in enumerate(seen):
        tall = draft.node("Gather", f"/view{k}/tall", x, draft.constant(f"/view{k}/rows", view.rows, np.int64), axis=2)
        columns = draft.constant(f"/view{k}/columns", view.columns, np.int64)
        made.append(draft.node("Gather", f"/view{k}", tall, columns, axis=3))
    named = draft_net(draft, net, draft.node("Concat", "/views", *made, axis=0), "/said", paths, fold)
    each = draft.constant("/each", (len(seen), -1, *net.output), np.int64)
    apart = draft.node("Reshape", "/apart", "/said", each)
    weights = draft.constant("/weights", np.reshape([view.weight for view in seen], (-1, 1, 1)))
    over = draft.constant("/over", (0,), np.int64)
    draft.nodes.append(
        Node("ReduceSum", (draft.node("Mul", "/weighed", apart, weights), over), result, {"keepdims": 0})
    )
    return named


def rename_value(node: Node, old: str, new: str) -> Node:
    inputs = tuple(new if name == old else name for name in node.inputs)
    return node._replace(inputs=inputs, output=new if node.output == old else node.output)


def fold_batch_norms(draft: Draft, kept: set[str]) -> None:
    """Put each BatchNorm that alone reads a convolution's or a dense layer's map into that layer's weights.

    weight' = weight·s, bias' = (bias − mean)·s + shift with s = scale / √(variance + eps), in float64.
    kept  values that are asked for, so that they must stay as they are
    """
    uses = Counter(name for node in draft.nodes for name in node.inputs)
    places: dict[str, int] = {}
    nodes: list[Node] = []
    for node in draft.nodes:
        source = node.inputs[0]
        maker = nodes[places[source]] if source in places else None
        alone = uses[source] == 1 and source not in kept
        if node.kind == "BatchNormalization" and maker and maker.kind in ("Conv", "Gemm") and alone:
            places[node.output] = places[source]
            nodes[places[source]] = fold_batch_norm(draft, maker, node)
        else:
            places[node.output] = len(nodes)
            nodes.append(node)
    draft.nodes = nodes


def fold_batch_norm(draft: Draft, maker: Node, norm: Node) -> Node:
    """`maker`, a Conv or Gemm, with the BatchNorm `norm` in its weights."""
    weight, *bias = (draft.constants[name].astype(np.float64) for name in maker.inputs[1:])
    scale, shift, mean, variance = (draft.constants[name].astype(np.float64) for name in norm.inputs[1:])
    factor = scale / np.sqrt(variance + norm.attributes["epsilon"])
    weights = draft.constant(maker.inputs[1], weight * factor.reshape(-1, *(1,) * (weight.ndim - 1)))
    biases = draft.constant(maker.inputs[1] + "/bias", ((bias[0] if bias else 0) - mean) * factor + shift)
    return maker._replace(inputs=(maker.inputs[0], weights, biases), output=norm.output)


def make_value_info(name: str, shape: Iterable[int | str], dtype: str = "FLOAT") -> onnx.ValueInfoProto:
    """An input or output of a graph: a batch, its N free, as every size that is given as a text."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, getattr(TensorProto, dtype), ("N", *shape))


def assemble_model(
    draft: Draft,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    name: str,
    outside: Collection[str] = (),
    fed: Mapping[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """The draft as an ONNX model, with the constants that a node reads; those `outside` are declared alone.

    fed  constants that are inputs instead, which whoever runs it hands over each time
    """
    from onnx import helper, numpy_helper

    nodes = [helper.make_node(n.kind, n.inputs, [n.output], name=n.output, **n.attributes) for n in draft.nodes]
    constants = [
        declare_constant(key, array) if key in outside else numpy_helper.from_array(array, key)
        for key, array in draft.list_read().items()
        if key not in (fed or {})
    ]
    handed = [
        helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for key, array in (fed or {}).items()
    ]
    made = helper.make_graph(nodes, name, [*inputs, *handed], outputs, constants)
    return helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="striate"
    )


def declare_constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    """A constant without its numbers, which the session is handed beside the model."""
    from onnx import TensorProto, helper

    made = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="location", value="memory")
    return made


def open_session(
    model: onnx.ModelProto | bytes | str | Path,
    threads: int | None = None,
    outside: Mapping[str, np.ndarray] | None = None,
    profile: Path | None = None,
    once: bool = False,
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU for a model, its bytes or its file.

    threads  within one operator; None leaves it to ONNX Runtime: one for each physical core
    outside  the constants that the model only declares
    profile  where the kernels' times are to go, the beginning of a file's name; `end_profiling` writes them
    once     for one run: no memory is kept for the next
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; ONNX Runtime would print it to stderr as well
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    if once:
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    if outside:
        held = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in outside.values()]
        options.add_external_initializers(list(outside), held)
    source = model if isinstance(model, bytes) else str(model) if isinstance(model, str | Path) else None
    if source is None:
        source = model.SerializeToString()  # type: ignore[union-attr]
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run_session(session: onnxruntime.InferenceSession, x: np.ndarray) -> np.ndarray:
    """`y` of the batch `x`. Raises ShapeError where the images are not as large as the net's input."""
    [y] = session.run([NET_OUTPUT], {NET_INPUT: match_input(session, x)})
    return np.asarray(y)


def run_in_batches(session: onnxruntime.InferenceSession, x: np.ndarray, batch: int) -> np.ndarray:
    """The first output for `x`, `batch` images at a time: the last ones are filled up by the first of them."""
    [name], found = [given.name for given in session.get_inputs()], []
    for k in range(0, len(x), batch):
        part = x[k : k + batch]
        whole = np.concatenate([part, np.repeat(part[:1], batch - len(part), 0)])
        found.append(np.asarray(session.run(None, {name: whole})[0])[: len(part)])
    return np.concatenate(found)


def match_input(session: onnxruntime.InferenceSession, x: np.ndarray) -> np.ndarray:
    wanted = tuple(session.get_inputs()[0].shape[1:])
    if x.ndim != 4 or x.shape[1:] != wanted:
        raise ShapeError(
            NET_INPUT,
            say("the batch does not fit the net"),
            got=format_shape(x.shape),
            rule=f"N×{format_shape(wanted)}",
        )
    return np.ascontiguousarray(x, np.float32)


def run_net(net: Net, tensors: Mapping[str, np.ndarray], x: np.ndarray, threads: int | None = None) -> np.ndarray:
    """`net` computed on `x`, N×C×H×W -> float32 N×classes. For many batches keep a `open_session` and `run_session`
    it.
    """
    return run_session(open_net(net, tensors, threads=threads), x)


def run_maps(
    net: Net,
    tensors: Mapping[str, np.ndarray],
    x: np.ndarray,
    paths: Iterable[str] | None = None,
    threads: int | None = None,
) -> dict[str, np.ndarray]:
    """The maps of the layers at `paths`, or of every layer that has one in evaluation, by path.

    Of a large net the weights are inputs of the graph, so that ONNX Runtime has no copies of them: two of VGG-16's
    0.5 GB. Its kernels then add up in another order than those of a session that has prepared its weights.
    """
    chosen = [step.path for step in net.steps if not step.side] if paths is None else list(dict.fromkeys(paths))
    large: dict[str, np.ndarray] = {}
    if needs_torch(net) or sum(tensor.nbytes for tensor in tensors.values()) < FED_BYTES:
        running = open_net(net, tensors, outputs=chosen, threads=threads)
    else:
        draft, values = draft_graph(net, tensors, chosen, True, "plain")
        large = list_large(draft)
        model = assemble_model(draft, [make_value_info(NET_INPUT, net.input)], values, net.name, fed=large)
        running = open_session(model, threads, once=True)
    _, *found = running.run(None, {NET_INPUT: match_input(running, x), **large})
    return dict(zip(chosen, map(np.asarray, found), strict=True))
