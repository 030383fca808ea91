"""A Net as text, the Python expression itself, and as JSON. Reading runs no code."""

from __future__ import annotations

import ast
import json
from dataclasses import fields
from typing import Any

from ..errors import NetError, suggest_name
from ..language import say
from .layers import LAYERS, Layer, Parallel, Sequence, SideHead
from .limits import LEVELS, cut_brief
from .net import Net


def parse(text: str) -> Net:
    """The Net that `text`, an expression `Net(input=…, layers=[…])`, stands for; `repr(net)` gives such a text.

    Only records, numbers, strings, True, False, None, tuples and lists are read; nothing is evaluated.
    Raises NetError with the line and the nearest known name.

    >>> parse("Net(input=(1, 8, 8), layers=[Conv(4, 3), ReLU(), GlobalAvgPool(), Dense(2)])").output
    (2,)
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as e:
        line = getattr(e, "lineno", None) or 1
        raise NetError(
            say("line {line}", line=line),
            say("this is not an expression: {complaint}", complaint=clean_complaint(e)),
            hint=NET_EXAMPLE,
        ) from None
    except (RecursionError, MemoryError):
        raise NetError(
            say("line {line}", line=1), say("the text is nested too deep to read"), rule=describe_depth()
        ) from None
    try:
        net = read_node(tree)
    except RecursionError:
        raise NetError(
            say("line {line}", line=1), say("the text is nested too deep to read"), rule=describe_depth()
        ) from None
    if not isinstance(net, Net):
        raise NetError(
            say("line {line}", line=1), say("the text must be one Net(…)"), got=type(net).__name__, hint=NET_EXAMPLE
        )
    return net


def describe_depth() -> str:
    return say("at most {most} levels of containers, counting the net itself", most=LEVELS)


NET_EXAMPLE = "Net(input=(1, 28, 28), layers=[Conv(6, 5), ReLU(), Flatten(), Dense(10)])"


def read_node(node: ast.expr) -> Any:
    """What one node of the expression stands for."""
    match node:
        case ast.Constant(value=int() | float() | str() | None as constant):
            return constant
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Tuple(elts=items):
            return tuple(read_node(item) for item in items)
        case ast.List(elts=items):
            return [read_node(item) for item in items]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return make_record(
                name, node.lineno, [read_node(a) for a in args], {str(k.arg): read_node(k.value) for k in keywords}
            )
    what = (
        say("'{name}' is not a value here", name=node.id)
        if isinstance(node, ast.Name)
        else say("only records and plain values go here")
    )
    hint = NET_EXAMPLE
    if isinstance(node, ast.Name):
        hint = f"{node.id}()" if node.id in LAYERS else suggest_name(node.id, LAYERS)
    raise NetError(say("line {line}", line=node.lineno), what, got=ast.unparse(node)[:60], hint=hint)


def make_record(name: str, line: int, args: list[Any], named: dict[str, Any]) -> Any:
    """The record `name(*args, **named)`. Raises NetError for a name or a field that it has not."""
    record: Any = Net if name == "Net" else LAYERS.get(name)
    where = say("line {line}", line=line)
    if record is None:
        raise NetError(where, say("there is no layer '{name}'", name=name), hint=suggest_name(name, [*LAYERS, "Net"]))
    known = [f.name for f in fields(record) if f.init]
    if record in (Sequence, Parallel, SideHead):
        known = [f for f in known if f not in ("layers", "branches")]
    for field in named:
        if field not in known:
            raise NetError(
                where, say("{name} has no field '{field}'", name=name, field=field), hint=suggest_name(field, known)
            )
    try:
        return record(*args, **named)
    except TypeError as e:
        raise NetError(
            where,
            say("{name}: {complaint}", name=name, complaint=explain_type_error(e)),
            hint=say("{name} takes {names}", name=name, names=", ".join(known)),
        ) from None
    except NetError as e:
        raise e.at(where, ", ") from None


def clean_complaint(error: Exception) -> str:
    """Python's complaint about a text, without its advice on how to lift a limit."""
    return str(getattr(error, "msg", error)).partition(";")[0]


def explain_type_error(error: TypeError) -> str:
    """Python's complaint about arguments without the function's name."""
    return str(error).split("() ", 1)[-1]


def to_json(net: Net) -> dict[str, Any]:
    """The Net as plain JSON data: input, name and layers, each with its class under "layer"."""
    return {"input": list(net.input), "layers": [encode_layer(layer) for layer in net.layers], "name": net.name}


def encode_layer(layer: Layer) -> dict[str, Any]:
    data: dict[str, Any] = {"layer": type(layer).__name__}
    for f in fields(layer):
        got = getattr(layer, f.name)
        if f.name in ("layers", "branches"):
            data[f.name] = [encode_layer(child) for child in got]
        elif got != f.default:
            data[f.name] = list(got) if isinstance(got, tuple) else got
    return data


def from_json(data: str | dict[str, Any]) -> Net:
    """The Net of `to_json`'s data, or of it as text. Raises NetError naming the place."""
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except RecursionError:
            raise NetError("net", say("the net is nested too deep to read"), rule=describe_depth()) from None
        except ValueError as e:  # JSONDecodeError, or a number without end
            raise NetError(
                "net",
                say("this is not JSON: {complaint}", complaint=clean_complaint(e)),
                hint='{"input": [1, 28, 28], "layers": [...]}',
            ) from None
    if not isinstance(data, dict) or not isinstance(data.get("layers"), list) or "input" not in data:
        raise NetError("net", say('a net is an object with "input" and "layers"'), got=cut_brief(data))
    unknown = sorted(set(data) - {"input", "layers", "name"})
    if unknown:
        raise NetError(
            "net",
            say("a net has no {field}", field=cut_brief(unknown[0])),
            hint=suggest_name(unknown[0], ["input", "layers", "name"]),
        )
    layers = [decode_layer(item, f"layers[{i}]") for i, item in enumerate(data["layers"])]
    return Net(data["input"], layers, str(data.get("name", "net")))


def decode_layer(data: Any, where: str, level: int = 0) -> Layer:
    """The layer that `data`, inside `level` containers, stands for. Raises NetError at `where`."""
    if level > LEVELS:
        raise NetError(where.partition(".")[0], say("the net is nested too deep to read"), rule=describe_depth())
    if not isinstance(data, dict) or "layer" not in data:
        raise NetError(where, say('a layer is an object with "layer", its kind'), got=cut_brief(data))
    data = dict(data)
    kind = data.pop("layer")
    if not isinstance(kind, str):
        raise NetError(where, say('"layer" must be the name of a layer'), got=cut_brief(kind))
    record = LAYERS.get(kind)
    if record is None:
        raise NetError(where, say("there is no layer {kind}", kind=cut_brief(kind)), hint=suggest_name(kind, LAYERS))
    known = [f.name for f in fields(record)]
    for field in data:
        if field not in known:
            raise NetError(
                where,
                say("{kind} has no field {field}", kind=kind, field=cut_brief(field)),
                hint=suggest_name(field, known),
            )
    inside = data.pop("layers", data.pop("branches", []))
    if not isinstance(inside, list):
        raise NetError(where, say("what a container holds is a list of layers"), got=cut_brief(inside))
    children = [decode_layer(item, f"{where}.{kind}[{i}]", level + 1) for i, item in enumerate(inside)]
    plain: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in data.items()}
    try:
        return record(*children, **plain)
    except TypeError as e:
        raise NetError(
            where,
            say("{kind}: {complaint}", kind=kind, complaint=explain_type_error(e)),
            hint=say("{kind} takes {names}", kind=kind, names=", ".join(known)),
        ) from None
    except NetError as e:
        raise e.at(where, ", ") from None
