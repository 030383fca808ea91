"""How many small faults the tests notice: `python bench/mutants.py --mutants 300`.

Each mutant is the package with one operator, comparison, number, condition or return value changed. The doctests of
its file run on it, then those tests of its room that import its module, themselves or by way of one other module, the
shortest ones first, as they were timed on the package as it is, and those that import it themselves before the others;
where none fails, it has survived and is printed with its line. A mutant that cannot be imported is noticed. What is
equivalent to the original by nature (a message's words, `__all__`, what is imported for types alone) is not mutated as
far as that can be told from the syntax; the rest of the equivalent ones count as survivors.

    --rooms data fitting    rooms to mutate; default: all that RUNS names
    --seed 1                another draw
    --jobs 2                processes
    --until 600             start no more mutants after so many seconds
    --again FILE            only those that survived in an earlier result
    --skip 100              without the first so many of the draw, which an earlier result has
    --budget 4              processor seconds after which a mutant has survived; those that do, `--again` with more
    --timed FILE            the tests' seconds on the package as it is; where it is not there, they are run for it first
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.machinery
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUDGET, HANGS, WAITS, CHECKED = 8.0, 60, 600.0, 300.0
"""Seconds of the processor after which no further test of a mutant begins: it has survived. After HANGS of them, or
WAITS on the clock, it does not end by itself: it is noticed. Processor seconds do not depend on who else is at work."""

RUNS = {
    "architecture": ["text", "layers", "limits", "channels_first", "field_beside_gates", "summary", "memory",
                     "abilities", "unchanged", "zoo", "draw", "whatif", "blur_pool", "plain_engine", "onnx_engine",
                     "growing_layers"],
    "summaries": ["tables", "unchanged", "summary", "draw", "whatif", "limits", "memory", "module_summary",
                  "module_inputs", "module_refusals", "module_untouched", "module_quantised", "field_beside_gates",
                  "abilities"],
    "data": ["loading_rules", "decode", "depth", "bands", "batches", "label_errors", "splits", "layouts",
             "table_layouts", "tables_beside", "files_in_python", "sources", "mapped_arrays", "torture_folder",
             "builtin_data", "folds", "own_data", "audit", "mapped", "sources_hub", "audit_page", "resuming"],
    "fitting": ["training_rules", "augment", "batches", "hang", "checkpoint", "watch", "ingredients", "preset",
                "optimizers", "own_functions", "own_loop", "layer_settings", "rate_finder", "train_memory", "training",
                "trace_step", "guard", "threads", "ranks"],
    "metrics": ["metrics", "abstention", "folds", "tables", "invariance", "report_page"],
}  # fmt: skip
"""Room -> its tests, of which those that bear a mutant's name come first; beside them those of every room."""

for tests_of_room in RUNS.values():
    tests_of_room += ["small_rules", "boundaries", "rule_tables"]

TIMED = "milliseconds or of_a_second or in_seconds or megabytes or in_proportion"
"""What measures time or memory would fail on a busy machine, whatever the mutant: such tests are left out."""

OF_NO_EFFECT = ("strict", "stacklevel", "maxsize", "help")
"""Arguments that change no answer: a check of our own mistakes, a warning's line, a cache's size, words."""

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
        self.wanted, self.line = wanted, 0
        self.places: list[int] = []

    def here(self, node: ast.AST) -> bool:
        self.places.append(getattr(node, "lineno", 0))
        return len(self.places) - 1 == self.wanted

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            node.value = self.visit(node.value)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        if node.arg not in OF_NO_EFFECT:
            node.value = self.visit(node.value)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node  # words for people

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        drawn_from = isinstance(node.target, ast.Name) and node.target.id == "EXAMPLES"  # by the tests
        if node.value is not None and not drawn_from:
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
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    if mutant.number < 0:
        return source
    return ast.unparse(ast.fix_missing_locations(Changer(mutant.number).visit(ast.parse(source))))


@cache
def imports_of(file: Path) -> frozenset[str]:
    """The package's modules that a file imports, at whatever place in it; of `from a import b` both a and a.b.

    A test imports what the modules beside it do, too.
    """
    found = set()
    inside = file.is_relative_to(ROOT / "src")
    package = file.relative_to(ROOT / "src").parent.parts if inside else ()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = (*package[: len(package) - node.level + 1], node.module) if node.level else (node.module,)
            stem = ".".join(part for part in parts if part)
            found |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
            beside = {file.parent / f"{name}.py" for name in (stem, *(alias.name for alias in node.names))}
            if not inside and node.level:
                found |= {name for other in beside - {file} if other.exists() for name in imports_of(other)}
    return frozenset(name for name in found if name.split(".")[0] == "striate")


@cache
def importers_of(module: str) -> frozenset[str]:
    """The modules of the package that import this one."""
    files = sorted((ROOT / "src" / "striate").rglob("*.py"))
    return frozenset(module_of(file) for file in files if module in imports_of(file)) - {module}


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")


def tests_for(mutant: Mutant) -> list[str]:
    """The doctests of its file, the tests that bear its name, that import it, that import what imports it."""
    module = module_of(ROOT / mutant.file)
    tests = [ROOT / "tests" / f"test_{name}.py" for name in RUNS[room_of(mutant.file)]]
    direct = [test for test in tests if module in imports_of(test)]
    around = {"striate", *importers_of(module)} | ({module.rpartition(".")[0]} if module.count(".") > 2 else set())
    around |= {name for other in importers_of(module) for name in importers_of(other)}
    near = [test for test in tests if test not in direct and around & imports_of(test)]
    chosen = sorted(direct + near or tests, key=lambda test: test.stem[5:] not in module.split("."))
    return [mutant.file, *(test.relative_to(ROOT).as_posix() for test in chosen)]


def load_mutated() -> None:
    """From now on Python reads one file of the package elsewhere: MUTANT_FILE's text is that of MUTANT_SOURCE."""
    usual = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, name: str):  # noqa: ANN202  as in the class
        path = self.get_filename(name)
        if path != os.environ["MUTANT_FILE"]:
            return usual(self, name)
        return compile(Path(os.environ["MUTANT_SOURCE"]).read_text(encoding="utf-8"), path, "exec")

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


class Budget:
    """No further test begins after so many seconds of the processor; the shortest begin first.

    seconds  that each test took, by its name; those of the tests that run are added
    near     files of tests that import the mutant's module themselves; theirs count as a quarter as long
    """

    def __init__(self, budget: float, seconds: dict[str, float], near: frozenset[str]) -> None:
        self.until, self.seconds, self.near = time.process_time() + budget, seconds, near

    def pytest_collection_modifyitems(self, items: list) -> None:
        def rank(item: Any) -> float:
            return self.seconds.get(item.nodeid, 0.0) * (0.25 if item.nodeid.split("::")[0] in self.near else 1.0)

        items.sort(key=rank)

    def pytest_runtest_logreport(self, report: object) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration  # type: ignore[attr-defined]

    def pytest_runtest_logfinish(self, nodeid: str, location: object) -> None:
        if self.is_used:
            import pytest

            pytest.exit("survived so far", 0)

    @property
    def is_used(self) -> bool:
        return time.process_time() > self.until


def is_noticed(mutant: Mutant, tests: list[str], budget: float, out: Path) -> bool:
    """Whether one of the tests fails on the mutant, in a process forked from this one, with torch loaded."""
    child = os.fork()
    if not child:
        code = 3
        try:
            code = run_tests(mutant, tests, budget, out)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    return wait_for(child, WAITS if mutant.number >= 0 else 3600) not in (0, 5)


def run_tests(mutant: Mutant, tests: list[str], budget: float, out: Path) -> int:
    """In the child: pytest's exit code, with what it says in a file."""
    import pytest

    os.setsid()
    with out.open("w") as said, open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0), os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
    if mutant.number >= 0:
        used = int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + HANGS, used + HANGS))
    source, site = out.with_suffix(".py"), out.parent / "sitecustomize.py"
    source.write_text(changed(mutant), encoding="utf-8")
    # Python imports a sitecustomize by itself: the processes that the tests start read the mutant too.
    site.write_text(
        f"import sys; sys.path.append({str(ROOT)!r}); from bench.mutants import load_mutated; load_mutated()"
    )
    path = os.pathsep.join([str(out.parent), str(ROOT / "src")])
    os.environ.update(MUTANT_FILE=str(ROOT / mutant.file), MUTANT_SOURCE=str(source), PYTHONPATH=path)
    load_mutated()
    search_without_shrinking()
    timed = out.parent / "seconds.json"
    seconds = json.loads(timed.read_text()) if mutant.number >= 0 and timed.exists() else {}
    module = module_of(ROOT / mutant.file)
    budget_left = Budget(budget, seconds, frozenset(test for test in tests if module in imports_of(ROOT / test)))
    words = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=line", f"--basetemp={out.with_suffix('')}"]
    words += ["--assert=plain", "-k", f"not ({TIMED})"]  # to rewrite assertions pytest would read the file itself
    code = 0
    for some in (tests[:2], tests[2:]):  # what is noticed soon does not wait for all to be collected
        if some and code in (0, 5) and not budget_left.is_used:
            code = int(pytest.main([*words, *some], plugins=[budget_left]))
    if mutant.number < 0:
        timed.write_text(json.dumps(budget_left.seconds))
    return code


def search_without_shrinking() -> None:
    """One failing example is enough, and the same ones are drawn each time; conftest's profiles would undo it."""
    from hypothesis import Phase, settings

    usual = [Phase.explicit, Phase.generate]
    settings.register_profile("mutants", derandomize=True, deadline=None, database=None, phases=usual)
    settings.load_profile("mutants")
    type.__setattr__(settings, "load_profile", staticmethod(lambda name: None))  # the class forbids it otherwise


def wait_for(child: int, seconds: float) -> int:
    """Its exit code; after so many seconds it is killed with all that it started."""
    until = time.monotonic() + seconds
    code = 1
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            child_group, code = child, os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.02)
    else:
        child_group = child
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child_group, signal.SIGKILL)
    return code


def work(share: list[Mutant], out: io.TextIOBase, until: float, given: argparse.Namespace) -> None:
    """Try each mutant, and write a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said.txt"
        (Path(folder) / "seconds.json").write_text(given.timed.read_text())
        for mutant in share:
            if time.monotonic() > until:
                return
            began, used = time.monotonic(), os.times()
            noticed = is_noticed(mutant, tests_for(mutant), given.budget, said)
            spent = os.times()
            failed = [line for line in said.read_text(errors="replace").splitlines() if line.startswith("FAILED")]
            line = mutant._asdict() | {"noticed": noticed, "by": failed[0][7:160] if failed else ""}
            line |= {"seconds": round(time.monotonic() - began, 1)}
            line |= {"processor": round(sum(spent[2:4]) - sum(used[2:4]), 1)}
            out.write(json.dumps(line) + "\n")
            out.flush()


def check_package(rooms: list[str]) -> dict[str, float]:
    """The package as it is must pass the tests of each room; the seconds that each test took."""
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for room in rooms:
            began, said = time.monotonic(), Path(folder) / "said.txt"
            itself = Mutant(f"src/striate/{room}/__init__.py", -1, 0, "")
            tests = [f"src/striate/{room}", *(f"tests/test_{name}.py" for name in RUNS[room])]
            if is_noticed(itself, tests, CHECKED, said):
                raise SystemExit(f"the tests of {room} fail on the package as it is:\n{said.read_text()[-2000:]}")
            print(f"{room}: passes as it is, in {time.monotonic() - began:.0f} s", file=sys.stderr)
            seconds |= json.loads((Path(folder) / "seconds.json").read_text())
    return seconds


def room_of(file: str) -> str:
    """src/striate/ROOM/….py"""
    return Path(file).parts[2]


def draw_mutants(given: argparse.Namespace) -> list[Mutant]:
    if given.again:
        rows = map(json.loads, given.again.read_text().splitlines())
        return [Mutant(*(row[field] for field in Mutant._fields)) for row in rows if not row["noticed"]]
    files = [file for room in given.rooms for file in sorted((ROOT / "src" / "striate" / room).rglob("*.py"))]
    every = [mutant for file in files for mutant in mutants_of(file)]
    print(f"{len(every):,} mutants of {len(files)} files", file=sys.stderr)
    return random.Random(given.seed).sample(every, min(given.mutants, len(every)))[given.skip :]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--mutants", type=int, default=300)
    words.add_argument("--rooms", nargs="*", default=list(RUNS), choices=list(RUNS))
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--jobs", type=int, default=2)
    words.add_argument("--until", type=float, default=float("inf"))
    words.add_argument("--again", type=Path)
    words.add_argument("--skip", type=int, default=0)
    words.add_argument("--budget", type=float, default=BUDGET)
    words.add_argument("--timed", type=Path, default=Path(tempfile.gettempdir()) / "mutants-seconds.json")
    words.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    given = words.parse_args()
    drawn = draw_mutants(given)
    given.out, given.timed = given.out.resolve(), given.timed.resolve()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "src"))
    os.environ.update(PYTHONPATH=str(ROOT / "src"), CI="true", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    load_libraries()
    if not given.timed.exists():
        given.timed.write_text(json.dumps(check_package(sorted({room_of(mutant.file) for mutant in drawn}))))
    rows = share_out(drawn, given)
    given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    show(rows)


def load_libraries() -> None:
    """Once for all children, and pytest with its plugins likewise; of the package nothing."""
    import hypothesis, numpy, onnxruntime, PIL.Image, pytest, sklearn.datasets, torch  # noqa: E401, F401, I001

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        empty = Path(folder) / "test_nothing.py"
        empty.write_text("def test_nothing(): pass\n")
        words = ["-p", "no:cacheprovider", "--assert=plain", f"--rootdir={folder}", "-c", os.devnull]
        pytest.main([*words, str(empty)])
    assert not any(name.split(".")[0] == "striate" for name in sys.modules)


def share_out(drawn: list[Mutant], given: argparse.Namespace) -> list[dict]:
    """The mutants' lines, from `jobs` processes."""
    parts = [given.out.with_suffix(f".{job}.jsonl") for job in range(given.jobs)]
    children = []
    until = time.monotonic() + given.until
    for job, part in enumerate(parts):
        child = os.fork()
        if not child:
            with part.open("w") as out:
                work(drawn[job :: given.jobs], out, until, given)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    for part in parts:
        part.unlink()
    return rows


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
