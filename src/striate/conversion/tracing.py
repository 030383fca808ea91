"""A torch module -> its operations, by torch.export: what depends on weights alone is computed here and now."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import nn

from ..architecture.layers import Shape
from ..errors import NetError
from ..language import say
from .handlers import HANDLERS, Tracer
from .record import Operation, Place, Value


class TracedModule(NamedTuple):
    """The image that goes in, what comes out, and all that lies between, in its order."""

    image: Value
    output: Value
    operations: list[Operation]


def trace_module(module: nn.Module, input: Shape) -> TracedModule:
    """The operations of `module` in evaluation on one image. Raises NetError where it cannot be traced or converted."""
    weight = next(module.parameters(), torch.zeros(()))
    example = torch.zeros(1, *input, dtype=weight.dtype, device=weight.device)
    try:
        with torch.no_grad():
            program = torch.export.export(module, (example,), strict=False)
    except Exception as e:
        what = say(
            "torch.export cannot trace this module: {complaint}",
            complaint=" ".join(str(e).split())[:200] or type(e).__name__,
        )
        raise NetError(
            type(module).__name__, what, hint=say("a forward pass of tensors, without branches on values")
        ) from None
    return read_program(program, input)


def read_program(program: Any, input: Shape) -> TracedModule:
    signature, tracer = program.graph_signature, Tracer()
    held = {**program.state_dict, **program.constants}
    named = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    image = Value(tuple(input), tuple(input))
    known: dict[Any, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            known[node] = held[named[node.name]].detach() if node.name in named else image
        elif node.op == "output":
            outputs = [one for one in node.args[0] if hasattr(one, "name") and one.name in signature.user_outputs]
            if len(outputs) != 1 or not isinstance(known[outputs[0]], Value):
                raise NetError(
                    say("the module"), say("it must return one tensor"), got=say("{count} outputs", count=len(outputs))
                )
            return TracedModule(image, known[outputs[0]], tracer.operations)
        else:
            known[node] = read_node(node, known, tracer)
    raise AssertionError("a graph ends in its output")


def read_node(node: Any, known: dict[Any, Any], tracer: Tracer) -> Any:
    """What a node gives: a Value, a tensor that depends on weights alone, or several of these."""

    def look_up(given: Any) -> Any:
        if isinstance(given, list | tuple):
            return type(given)(look_up(one) for one in given)
        return known[given] if isinstance(given, torch.fx.Node) else given

    args, options = look_up(tuple(node.args)), {name: look_up(value) for name, value in node.kwargs.items()}
    if node.target.__name__ == "getitem":
        return args[0][args[1]]
    if not holds_value(args) and not holds_value(tuple(options.values())):
        with torch.no_grad():
            return node.target(*args, **options)
    name = str(node.target).removeprefix("aten.").split(".")[0]
    tracer.place = find_place(node, name)
    handler = HANDLERS.get(name.removesuffix("_") if not name.startswith("_") else name)
    if handler is None:
        raise tracer.place.refuse(say("no layer record of striate expresses this operation"))
    bound = bind_arguments(node.target, args, options)
    tracer.use_weights(bound.values())
    result = handler(tracer, **bound, seen=find_seen(node))
    if name.endswith("_") and isinstance(node.args[0], torch.fx.Node):
        known[node.args[0]] = result  # it was changed in place
    return result


def holds_value(given: Any) -> bool:
    if isinstance(given, list | tuple):
        return any(map(holds_value, given))
    return isinstance(given, Value)


def bind_arguments(target: Any, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """All arguments by the names that torch gives them, defaults included."""
    bound = {}
    for k, argument in enumerate(target._schema.arguments):
        name = "x" if argument.name in ("self", "input") else argument.name
        if k < len(args):
            bound[name] = args[k]
        elif argument.name in options:
            bound[name] = options[argument.name]
        elif argument.has_default_value():
            bound[name] = argument.default_value
    return bound


def find_seen(node: Any) -> Any:
    """The shape of a node's tensor without the batch; of several, their shapes."""
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return [tuple(map(int, one.shape[1:])) for one in value]
    return tuple(map(int, value.shape[1:]))


def find_place(node: Any, name: str) -> Place:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    path = re.sub(r"^L\['self'\]\.?|\._modules|\['(\w+)'\]", lambda m: f".{m[1]}" if m[1] else "", path).strip(".")
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    line = f"{lines[-1][0].rsplit('/', 1)[-1]}:{lines[-1][1]}" if lines else ""
    return Place(name, path, line)
