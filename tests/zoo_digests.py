"""A digest of every net of the zoo, in the forms in which it is built: `python -m tests.zoo_digests` writes them.

They were taken when parameters, MACs, receptive fields, weights and outputs agreed with the published ones
(`test_zoo.py`, `test_published_weights.py`), and hold what those do not see: an order of layers, a default, a name.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from striate.architecture import zoo
from striate.architecture.text import to_json
from striate.errors import NetError, ShapeError

FILE = Path(__file__).parent / "reference" / "zoo_digests.json"
FORMS = {"own": {}, "7 classes": {"classes": 7}, "gray 32": {"input": (1, 32, 32)}, "RGB 32": {"input": (3, 32, 32)},
         "RGB 96×128": {"input": (3, 96, 128), "classes": 5}}  # fmt: skip


def digest_net(name: str, form: str) -> str:
    """12 hexadecimal digits; "" where the net cannot be built so."""
    try:
        net = zoo.build(name, **FORMS[form])
    except (NetError, ShapeError):
        return ""
    return hashlib.sha256(json.dumps([to_json(net), net.name]).encode()).hexdigest()[:12]


def digest_zoo() -> dict[str, dict[str, str]]:
    return {name: {form: digest_net(name, form) for form in FORMS} for name in zoo.NAMES}


if __name__ == "__main__":
    FILE.write_text(json.dumps(digest_zoo(), indent=1) + "\n")
