"""What must never be: imports against the flow of data, and torch where it is not wanted."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "striate"
ROOMS = [
    *(
        "optimizers",
        "architecture",
        "summaries",
        "engines",
        "conversion",
        "data",
        "fitting",
        "transfer",
        "metrics",
        "report",
    ),
    *("inside", "formats", "model", "parts", "browser", "exporting", "runs", "serve", "studio"),
    *("api", "nets", "estimator", "cli_help", "cli_options", "cli_nets", "cli_models", "cli_inside", "cli"),
]
"""In the order in which data flows: a room imports those before it. `data` knows nobody."""


def imports(file: Path) -> set[str]:
    """The rooms and top-level modules that a file imports, at whatever place in it."""
    found = set()
    package = ("striate", *file.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = f"{base}.{node.module}" if base and node.module else base or node.module or ""
            found |= {f"{stem}.{alias.name}" for alias in node.names} if stem == "striate" else {stem}
    return found


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "striate" and len(parts) > 1 and parts[1] in ROOMS else None


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_flow_of_data(file):
    own = file.relative_to(PACKAGE).with_suffix("").parts[0]
    if own in ("__init__", "__main__", "errors", "atomic_file"):
        return
    for name in imports(file):
        other = room(name)
        if other and other != own:
            assert ROOMS.index(other) < ROOMS.index(own), f"{file} imports {name}"
            assert own != "data" or name.startswith("striate.errors"), f"{file}: data knows no other room"


PURE = [
    file
    for room in ("architecture", "summaries")
    for file in (PACKAGE / room).rglob("*.py")
    if not file.name.startswith("module_")
]
"""What is known of a net from its record alone; `summaries/module_*` counts foreign modules, which are torch's."""


@pytest.mark.parametrize("file", sorted(PURE), ids=lambda p: p.name)
def test_architectures_import_neither_torch_nor_numpy(file):
    assert not {name.split(".")[0] for name in imports(file)} & {"torch", "numpy", "onnx", "onnxruntime"}


TORCH = {"conversion/applying.py", "conversion/convert.py", "conversion/handlers.py", "conversion/operators.py",
         "conversion/response_norm.py", "conversion/tracing.py",
         "engines/torch.py", "engines/torch_layers.py", "summaries/module_operations.py", "summaries/module_summary.py",
         "inside/gradients.py", "inside/profile.py", "model/weight_files.py", "formats/torch_program.py",
         "formats/plain_program.py", "formats/phone_files.py", "formats/coreml_file.py", "formats/coreml_operators.py",
         "model/timm_models.py", "runs/tensorboard_log.py"}  # fmt: skip


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_torch_is_imported_only_where_it_trains_or_reads_foreign_weights(file):
    place = file.relative_to(PACKAGE).as_posix()
    if "torch" in {name.split(".")[0] for name in imports(file)}:
        assert place in TORCH or place.startswith(
            (
                "fitting/",
                "transfer/",
                "optimizers/",
                "summaries/module",
                "inside/gradients",
            )
        )


@pytest.mark.parametrize(
    "code",
    [
        "import striate",
        "import striate; striate.summary(striate.nets.lenet5())",
        "import striate; striate.nets.resnet50()",
        "import sys; sys.argv = ['striate', '--help']; import striate.cli; striate.cli.main()",
        "import sys; sys.argv = ['striate', 'summary', 'lenet5']; import striate.cli; striate.cli.main()",
        "import striate.model.model, striate.data.sources.load, striate.report.run_page",
    ],
)
def test_torch_and_scikit_learn_stay_unloaded(code):
    check = "import atexit, sys\nheavy = ('torch', 'sklearn')\n"
    check += "atexit.register(lambda: print([m for m in heavy if m in sys.modules]))\n"
    done = subprocess.run([sys.executable, "-c", check + code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_pickle_is_ever_read_or_written():
    for file in PACKAGE.rglob("*.py"):
        names = {name.split(".")[0] for name in imports(file)}
        assert not names & {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}, file
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(?<!safetensors\.)torch\.save\(", text), file
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\([^)]*\)", text)), file
