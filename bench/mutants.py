"""How many small faults the tests notice: `python bench/mutants.py --mutants 300`.

Each mutant is the package with one operator, comparison, number, condition or return value changed. The tests of its
room run on it, the doctests of its file first; where none fails, it has survived and is printed with its line. What is
equivalent to the original by nature (a message's words, a cache's size, a speed-only choice) is not mutated as far as
that can be told from the syntax; the rest of the equivalent ones count as survivors.

    --rooms net data     rooms to mutate; default: all that RUNS names
    --seed 1             another draw
    --jobs 2             processes
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PATIENCE, LEAST = 4.0, 60.0
"""A mutant that takes so many times as long as the package as it is, and so many seconds, hangs: it is noticed."""

RUNS = {
    "arch": ["layers", "text", "summary", "memory", "whatif", "draw", "zoo", "abilities", "tables", "rooms"],
    "data": ["batches", "augment", "decode", "sources", "audit", "mapped", "mapped_arrays", "label_errors",
             "builtin_data", "torture_folder", "ingredients"],
    "train": ["training", "ingredients", "preset", "augment", "killed", "transfer", "photographs", "ranks"],
    "evaluate": ["metrics", "report_page", "invariance", "audit_page"],
}  # fmt: skip
"""Room -> its tests, those first that fail soonest."""

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Add, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: the `number`th place of `file` where something can be changed; `text` is the line as it becomes."""

    file: str
    number: int
    line: int
    text: str


class Changer(ast.NodeTransformer):
    """Changes the `wanted`th place, or with None only counts the places and their lines."""

    def __init__(self, wanted: int | None) -> None:
        self.wanted, self.places, self.line = wanted, [], 0

    def here(self, node: ast.AST) -> bool:
        self.places.append(getattr(node, "lineno", 0))
        return len(self.places) - 1 == self.wanted

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node  # words for people

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.defaults = [self.visit(value) for value in node.defaults]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        text = any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, node.right))
        if type(node.op) in SWAPS and not text and self.here(node):
            node.op = SWAPS[type(node.op)]()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self.here(node):
            node.op = SWAPS[type(node.op)]()
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if type(node.ops[0]) in SWAPS and self.here(node):
            node.ops[0] = SWAPS[type(node.ops[0])]()
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, ast.Not | ast.USub) and self.here(node) else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool | int | float) and self.here(node):
            node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and not isinstance(node.value, ast.Constant) and self.here(node):
            node.value = ast.Constant(None)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node
        self.generic_visit(node)
        if self.here(node):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node


def mutants_of(file: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    source = file.read_text(encoding="utf-8")
    counted = Changer(None)
    counted.visit(ast.parse(source))
    lines = source.splitlines()
    for number, line in enumerate(counted.places):
        yield Mutant(file.relative_to(ROOT).as_posix(), number, line, lines[line - 1].strip())


def changed(mutant: Mutant) -> str:
    """The source with the change; of the number −1, which is none, as it is."""
    if mutant.number < 0:
        return (ROOT / mutant.file).read_text(encoding="utf-8")
    tree = ast.parse((ROOT / mutant.file).read_text(encoding="utf-8"))
    return ast.unparse(ast.fix_missing_locations(Changer(mutant.number).visit(tree)))


def tests_for(mutant: Mutant) -> list[str]:
    """The doctests of its file, then the tests of its room."""
    return [mutant.file, *(f"tests/test_{name}.py" for name in RUNS[room_of(mutant.file)])]


def is_noticed(mutant: Mutant, place: Path, seconds: float) -> bool:
    """Whether a test fails on the mutant, in a process forked from this one, with torch loaded and striate not."""
    target = place / mutant.file
    before = target.read_text(encoding="utf-8")
    target.write_text(changed(mutant), encoding="utf-8")
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(place)
        sys.path.insert(0, str(place / "src"))
        os.environ.update(PYTHONPATH=str(place / "src"), CI="true", PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1), os.dup2(nothing.fileno(), 2)
        import pytest

        code = 3
        with contextlib.suppress(BaseException):
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests_for(mutant)]))
        os._exit(code)
    try:
        return wait_for(child, seconds) != 0
    finally:
        target.write_text(before, encoding="utf-8")


def wait_for(child: int, seconds: float) -> int:
    """Its exit code; after so many seconds it is killed with all that it started."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def work(share: list[Mutant], out: io.TextIOBase) -> None:
    """Try each mutant in a copy of the project, and write a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("src", "tests", "docs", "bench"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("conftest.py", "pyproject.toml", "README.md", "ARCHITECTURE.md"):
            shutil.copy(ROOT / name, place / name)
        usual = {room: baseline(room, place) for room in sorted({room_of(mutant.file) for mutant in share})}
        for mutant in share:
            began = time.monotonic()
            seconds = max(LEAST, PATIENCE * usual[room_of(mutant.file)])
            line = mutant._asdict() | {"noticed": is_noticed(mutant, place, seconds)}
            out.write(json.dumps(line | {"seconds": round(time.monotonic() - began, 1)}) + "\n")
            out.flush()


def baseline(room: str, place: Path) -> float:
    """The seconds of a room's tests on the package as it is, which they must pass."""
    began = time.monotonic()
    if is_noticed(Mutant(f"src/striate/{room}/__init__.py", -1, 0, ""), place, 3600):
        raise SystemExit(f"the tests of {room} fail on the package as it is")
    return time.monotonic() - began


def room_of(file: str) -> str:
    """src/striate/ROOM/….py"""
    return Path(file).parts[2]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--mutants", type=int, default=300)
    words.add_argument("--rooms", nargs="*", default=list(RUNS))
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--jobs", type=int, default=2)
    words.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    given = words.parse_args()
    files = [file for room in given.rooms for file in sorted((ROOT / "src" / "striate" / room).rglob("*.py"))]
    every = [mutant for file in files for mutant in mutants_of(file)]
    drawn = random.Random(given.seed).sample(every, min(given.mutants, len(every)))
    print(f"{len(drawn)} of {len(every):,} mutants of {len(files)} files, {given.jobs} processes", file=sys.stderr)
    import hypothesis, numpy, onnxruntime, torch  # noqa: E401, F401, I001  loaded once for all children

    children = []
    for job in range(given.jobs):
        child = os.fork()
        if not child:
            with given.out.with_suffix(f".{job}.jsonl").open("w") as out:
                work(drawn[job :: given.jobs], out)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    parts = [given.out.with_suffix(f".{job}.jsonl") for job in range(given.jobs)]
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for part in parts:
        part.unlink()
    show(rows)


def show(rows: list[dict]) -> None:
    """A line a room, then the survivors."""
    tried = Counter(room_of(row["file"]) for row in rows)
    alive = Counter(room_of(row["file"]) for row in rows if not row["noticed"])
    print(f"{'room':<12}{'mutants':>9}{'survived':>10}{'share':>8}")
    for name in [*tried, None]:
        n, k = (tried[name], alive[name]) if name else (len(rows), sum(alive.values()))
        print(f"{name or 'all':<12}{n:>9}{k:>10}{k / max(n, 1):>8.1%}")
    for row in sorted((row for row in rows if not row["noticed"]), key=lambda row: (row["file"], row["line"])):
        print(f"{row['file']}:{row['line']}  #{row['number']}  {row['text'][:100]}")


if __name__ == "__main__":
    main()
