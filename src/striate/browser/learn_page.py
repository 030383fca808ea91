"""The course as one file that opens offline: a network that reads digits, and eleven steps from pixel to answer."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from .. import atomic_file
from ..language import say
from ..model.model import load_model
from .giveaway_page import GIVEAWAY_POLICY
from .joining import format_inline_json, join_modules, read_browser_file, wrap_page
from .payload import make_payload

LEARN = Path(str(files(__package__))) / "learn"

BODY = """<header><h1 id="lead"></h1>
<div><button id="copy" type="button"></button><button id="language" type="button"></button></div></header>
<main><section id="stage" aria-live="polite"><div id="penbox"><canvas id="pad" role="img"></canvas>
<div class="buttons"><button id="wipe" type="button"></button><button id="four" type="button"></button></div></div>
<div id="controls"></div><div id="figure"></div></section>
<div id="column" tabindex="0"><nav id="dots"></nav><div id="steps"></div></div></main>"""


# What `bench/learn_model.py` measured for the course.
MEASURED = ("training", "exciting", "strides")


def render_learn(in_studio: bool = False) -> str:
    """The page's HTML, with the LeNet-5 that `bench/learn_model.py` trained.

    in_studio  whether each step ends in a link to the studio's Inside; else in the command that shows the same
    """
    model = load_model(LEARN / "lenet5.safetensors")
    measured = {name: json.loads((LEARN / f"{name}.json").read_text(encoding="utf-8")) for name in MEASURED}
    body = (
        f'<body data-studio="{"yes" if in_studio else "no"}">{BODY}'
        f'<script id="payload" type="application/json">{format_inline_json(make_payload(model))}</script>'
        f'<script id="measured" type="application/json">{format_inline_json(measured)}</script>'
        f'<script type="module">{join_modules("learn.js")}</script></body>'
    )
    return wrap_page("striate: learn", GIVEAWAY_POLICY, read_browser_file("learn.css"), body)


def write_learn(out: str | Path) -> str:
    """Write the course to `out`; what it is, in a line."""
    text = render_learn()
    atomic_file.write_file(Path(out), text)
    return say("a course of eleven steps, in English and Korean; {size:.2f} MB", size=len(text.encode()) / 1e6)
