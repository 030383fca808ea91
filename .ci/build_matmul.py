"""Assemble the browser engine's inner product: `python .ci/build_matmul.py` writes matmul_bytes.js from matmul.wat.

`--check` says whether the file is what the source gives. The assembler is wasmtime's (`pip install wasmtime`).
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

ENGINE = Path(__file__).parent.parent / "src" / "striate" / "browser" / "engine"


def make_module() -> str:
    """The text of matmul_bytes.js."""
    import wasmtime

    built = base64.b64encode(wasmtime.wat2wasm((ENGINE / "matmul.wat").read_text(encoding="utf-8"))).decode()
    lines = " +\n".join(f'  "{built[i : i + 100]}"' for i in range(0, len(built), 100))
    head = "// Made from matmul.wat by .ci/build_matmul.py: change that.\n\n"
    return f"{head}/** The WebAssembly module in base64. */\nexport const MATMUL_BYTES =\n{lines};\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit((ENGINE / "matmul_bytes.js").read_text(encoding="utf-8") != make_module())
    (ENGINE / "matmul_bytes.js").write_text(make_module(), encoding="utf-8")
