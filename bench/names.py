"""How well the names lead: top-level names in two files or more, import circles, small files, names of one word.

    python bench/names.py                    # the counts
    python bench/names.py --list             # and what is counted
    python bench/names.py --source PATH      # of another package

Counted are functions, classes and constants at a file's top level, each once a file; `_` and what Python itself looks
for (`__all__`, `__getattr__`) are not. An import counts wherever it stands, but for those that only a type checker
runs. A file's importers are the files that import it or a name from it.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "striate"
SMALL = 80
"""Lines under which a file that one other file imports would better stand there."""

FOUND_BY_NAME = ("__init__", "__main__")


class Counts(NamedTuple):
    """`names` and `shared` count (file, name) pairs; `circles` are sets of files, `small` files with one importer.

    words  the functions whose name is one word, "file: name", the zoo's nets left out
    """

    files: int
    names: int
    shared: dict[str, list[str]]
    circles: list[list[str]]
    small: dict[str, str]
    words: list[str]

    @property
    def share(self) -> float:
        """Of all top-level names, those that another file has too."""
        return sum(map(len, self.shared.values())) / max(1, self.names)


def count_names(package: Path = PACKAGE) -> Counts:
    """Read every file of a package and count."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees.items():
        for name in list_names(tree):
            places[name].append(show_path(path, package))
    shared = {name: found for name, found in places.items() if len(found) > 1}
    links = {path: find_imports(path, tree, package) for path, tree in trees.items()}
    circles = [[show_path(path, package) for path in circle] for circle in find_circles(links)]
    words = [
        f"{show_path(path, package)}: {node.name}"
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and "_" not in node.name and path.parent.name != "zoo"
    ]
    return Counts(len(trees), sum(map(len, places.values())), shared, circles, find_small(links, package), words)


def show_path(path: Path, package: Path) -> str:
    return path.relative_to(package).as_posix()


def list_names(tree: ast.Module) -> list[str]:
    """The names that a file defines at its top level, each once."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return [name for name in dict.fromkeys(found) if name != "_" and not name.startswith("__")]


def find_imports(path: Path, tree: ast.Module, package: Path) -> set[Path]:
    """The files of the package that a file imports, at whatever place in it."""
    above = path.relative_to(package).parent.parts
    found = set()
    for node in list_running_imports(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.joinpath(*above[: len(above) - node.level + 1], *(node.module or "").split("."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package.name:
            base = package.joinpath(*(node.module or "").split(".")[1:])
        else:
            continue
        for alias in node.names:
            found.add(find_file(base / alias.name) or find_file(base))
    return {file for file in found if file and file != path}


def list_running_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """A file's imports, less those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield from list_running_imports(node)


@cache
def find_file(stem: Path) -> Path | None:
    """The file of a module or package."""
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def find_circles(links: dict[Path, set[Path]]) -> list[list[Path]]:
    """The sets of files that import one another, directly or through others (Tarjan 1972)."""
    order: dict[Path, int] = {}
    low: dict[Path, int] = {}
    open_: list[Path] = []
    circles = []

    def visit(path: Path) -> None:
        order[path] = low[path] = len(order)
        open_.append(path)
        for other in sorted(links.get(path, ())):
            if other not in order:
                visit(other)
                low[path] = min(low[path], low[other])
            elif other in open_:
                low[path] = min(low[path], order[other])
        if low[path] == order[path]:
            circle = open_[open_.index(path) :]
            del open_[-len(circle) :]
            if len(circle) > 1:
                circles.append(circle)

    for path in links:
        if path not in order:
            visit(path)
    return circles


def find_small(links: dict[Path, set[Path]], package: Path) -> dict[str, str]:
    """The files of under SMALL lines that one other file imports, with that file."""
    importers = Counter(other for found in links.values() for other in found)
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in links}
    small = {}
    for path in links:
        if importers[path] == 1 and lines[path] < SMALL and path.stem not in FOUND_BY_NAME:
            importer = next(p for p, found in links.items() if path in found)
            if importer != path.parent / "__init__.py":  # a family's list of its members
                small[show_path(path, package)] = show_path(importer, package)
    return small


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source", type=Path, default=PACKAGE)
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    counts = count_names(given.source)
    print(f"{counts.files} files, {counts.names} top-level names")
    print(f"{100 * counts.share:.1f} % of them in another file too ({len(counts.shared)} words)")
    print(f"{len(counts.circles)} import circles")
    print(f"{len(counts.small)} files under {SMALL} lines with one importer")
    print(f"{len(counts.words)} functions with a name of one word")
    if given.list:
        for name, files in sorted(counts.shared.items()):
            print(f"  {name}: {', '.join(files)}")
        for circle in counts.circles:
            print(f"  circle: {', '.join(circle)}")
        for file, importer in counts.small.items():
            print(f"  small: {file}, imported by {importer}")
        for word in counts.words:
            print(f"  word: {word}")


if __name__ == "__main__":
    main()
