"""From what a user typed to a Net: a zoo name, a file, or the expression itself."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import NetError, suggest_name
from ..language import say
from . import zoo
from .layers import Dense, Shape
from .net import Net
from .text import from_json, parse

# Who makes a Net of a name with such a beginning; it is imported when the first one is asked for.
NAMED_ELSEWHERE = {"timm:": "striate.model.timm_models", "hf:": "striate.model.timm_models"}

NET_CODE = "striate.Net((1, 28, 28), [striate.Flatten(), striate.Dense(10)])"


def find_net(spec: str | Path | Net, *, classes: int | None = None, input: Shape | None = None) -> Net:
    """The Net that `spec` names: a Net, a zoo name, the path of a `.json` or text file, or an expression `Net(…)`.

    Also a network of timm's, "timm:resnet18d" or "hf:timm/resnet18d.ra2_in1k", where `striate[timm]` is installed.
    classes, input  a zoo net or timm's is made for them; another net is refused where its classes differ, and re-sized
                    to input
    Raises NetError, or ShapeError where the net does not fit `input`.
    """
    spec = str(spec) if isinstance(spec, Path) else spec
    if isinstance(spec, Net):
        net = spec
    elif not isinstance(spec, str):
        hint = (
            "striate.from_torch(module, (3, 224, 224)).net"
            if hasattr(spec, "state_dict")
            else say("{code}, a zoo name, a file, or the text Net(…)", code=NET_CODE)
        )
        raise NetError("net", say("this is not a network"), got=type(spec).__name__, hint=hint)
    elif spec in zoo.FAMILY_OF:
        options: dict[str, object] = {"classes": classes, "input": input}
        return zoo.build(spec, **{key: value for key, value in options.items() if value is not None})
    elif spec.startswith(tuple(NAMED_ELSEWHERE)):
        return import_namer(spec).find_named_net(spec, classes=classes, input=input)
    elif spec.lstrip().startswith("Net("):
        net = parse(spec)
    elif Path(spec).is_file():
        try:
            text = Path(spec).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise NetError(spec, say("this file cannot be read as text: {complaint}", complaint=e)) from None
        try:
            net = from_json(text) if text.lstrip().startswith("{") else parse(text)
        except NetError as e:
            raise e.at(spec, ": ") from None
    else:
        raise NetError(spec, say("no zoo net and no file has this name"), hint=suggest_name(spec, zoo.NAMES))
    if classes is not None and net.classes != classes:
        last = next((step.layer for step in reversed(net.steps) if isinstance(step.layer, Dense)), None)
        code = repr(last).replace(f"({net.classes}", f"({classes}", 1)
        hint = say("{code} as its last Dense layer", code=code) if last else None
        raise NetError(
            net.name,
            say("the net has {net_classes} classes, the data has {classes}", net_classes=net.classes, classes=classes),
            hint=hint,
        )
    return net if input is None else net.resized(input)


def find_usual_input(spec: str) -> tuple[int, int, int] | None:
    """The input that the zoo net, or timm's, is made for by default; None where `spec` is neither."""
    if spec.startswith(tuple(NAMED_ELSEWHERE)):
        return import_namer(spec).find_named_input(spec)
    if spec not in zoo.FAMILY_OF:
        return None
    return inspect.signature(getattr(zoo, spec)).parameters["input"].default


def import_namer(spec: str) -> Any:
    """The module that knows such names."""
    return import_module(next(home for start, home in NAMED_ELSEWHERE.items() if spec.startswith(start)))
