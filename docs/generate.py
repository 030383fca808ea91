"""Run every command and code block of README and docs/, and write their real output into them.

    python docs/generate.py           write
    python docs/generate.py --check   compare, and exit 1 where a page is not what a fresh run gives

A page's blocks run from top to bottom in one empty folder:
    ```console         each line after "$ " is run by the shell; what follows is its output, compared to the letter
    ```console ~       as above, but --check lets its numbers differ: times, and what training makes of the threads
    ```python          run in the page's own namespace; must not raise
    ```pycon           an interactive example, compared as doctest does
A page called *.ko.md is run in Korean, all others in English.
The pages under docs/reference/ are written whole, from the docstrings and from --help.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from striate import use_language

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.ko.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(console|python|pycon)( ~)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d[\d,.]*")
# Lines of a verdict that stand there or not as the figures are: the weakest class, advice, strengths that were tried.
VARYING = re.compile(
    r"^(Weakest: |To know it within |  \d\. |가장 약한 |±2점 |\s+[\d.]+ +(loss|손실) ).*\n?", re.MULTILINE
)


def refreshed(page: Path, check: bool) -> str:
    """The page with the output of its blocks as it is now. Raises where a block fails."""
    names: dict = {"__name__": "__main__"}
    os.environ["STRIATE_LANG"] = language = "ko" if page.name.endswith(".ko.md") else "en"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), use_language(language):

        def run(match: re.Match) -> str:
            kind, loose, body = match.groups()
            line = page.read_text(encoding="utf-8")[: match.start()].count("\n") + 1
            where = f"{page.relative_to(ROOT)}:{line}"
            if kind == "console":
                return f"```console{loose or ''}\n{console(body, bool(loose) and check, where)}```"
            if kind == "python":
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    exec(compile(body, where, "exec"), names)
            else:
                examples(body, names, where)
            return match.group(0)

        return BLOCK.sub(run, page.read_text(encoding="utf-8"))


def console(body: str, loose: bool, where: str) -> str:
    """The block's commands with their fresh output; where `loose`, with the old one if only numbers in it differ."""
    parts = re.split(r"^(\$ .*(?:\\\n.*)*\n)", body, flags=re.MULTILINE)[1:]
    made = ""
    for command, old in zip(parts[::2], parts[1::2], strict=True):
        environment = os.environ | {"COLUMNS": "120", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        shell = ["bash", "-o", "pipefail", "-c", command[2:]]
        done = subprocess.run(shell, text=True, capture_output=True, env=environment)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{where}: {command.strip()} gave exit code {done.returncode}\n{done.stderr}")
        new = "".join(line.rstrip() + "\n" for line in (done.stdout or done.stderr).splitlines())
        made += command + (old if loose and loosen(old) == loosen(new) else new)
    return made


def loosen(text: str) -> list[str]:
    """The words of an output without its numbers, their signs, and the VARYING lines: on another processor they differ.

    >>> loosen("new weight  0.5 + 0.1 = 0.6") == loosen("new weight  0.48 − 0.2 = 0.28")
    True
    """
    return re.sub(r"[+−-](?= ?#)", "±", NUMBER.sub("#", VARYING.sub("", text))).split()


def examples(body: str, names: dict, where: str) -> None:
    """Run an interactive example. Raises SystemExit where its output differs."""
    test = doctest.DocTestParser().get_doctest(body, names, where, where, 0)
    out = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    if runner.run(test, out=out.write, clear_globs=False).failed:
        raise SystemExit(f"{where}\n{out.getvalue()}")
    names.update(test.globs)


def reference() -> dict[Path, str]:
    """The reference pages: the public names, and the commands."""
    import striate
    from striate import nets

    lines = ["# Python reference", "", "Written from the docstrings by `make docs`.", ""]
    for name in striate.__all__:
        thing = getattr(striate, name)
        if inspect.ismodule(thing):
            continue
        lines += [f"## `striate.{name}`", "", *described(thing, name), ""]
        if inspect.isclass(thing) and name in ("Model", "Net", "ImageClassifier", "Run"):
            for method, inside in vars(thing).items():
                if not method.startswith("_") and inspect.isfunction(inside) and inside.__doc__:
                    lines += [f"### `{name}.{method}`", "", *described(inside, method), ""]
    lines += ["## `striate.nets`", "", "Every published network here, each a function that returns a `Net`.", ""]
    lines += ["```text"]
    lines += [f"{name:<24}{inspect.signature(getattr(nets, name))}" for name in nets.NAMES]
    lines += ["```", ""]
    pages = {ROOT / "docs" / "reference" / "python.md": "\n".join(lines)}

    os.environ["STRIATE_LANG"] = "en"
    texts = ["# Command reference", "", "Written from `--help` by `make docs`.", ""]
    environment = os.environ | {"COLUMNS": "100"}
    program = [sys.executable, "-m", "striate"]
    shown = subprocess.run([*program, "--help"], text=True, capture_output=True, env=environment, check=True).stdout
    listed = shown.split("Commands:")[1]
    names = re.findall(r"^  (\w[\w-]*)", listed, re.MULTILINE)
    for name in names:
        run = subprocess.run([*program, name, "--help"], text=True, capture_output=True, env=environment, check=True)
        text = "\n".join(line.rstrip() for line in run.stdout.replace("python -m striate", "striate").splitlines())
        texts += [f"## `striate {name}`", "", "```text", text.strip(), "```", ""]
    pages[ROOT / "docs" / "reference" / "commands.md"] = "\n".join(texts)
    return pages


def described(thing, name: str) -> list[str]:
    """A signature and docstring as Markdown; the docstring keeps its layout."""
    try:
        signature = str(inspect.signature(thing))
    except (TypeError, ValueError):
        signature = ""
    return ["```text", f"{name}{signature}", "", inspect.getdoc(thing) or "", "```"]


def main(check: bool, only: list[str]) -> int:
    stale = []
    pages = reference() if not only else {}
    for page in PAGES:
        if "reference" in page.parts or (only and page.name not in only):
            continue
        print(f"running {page.relative_to(ROOT)}", file=sys.stderr)
        pages[page] = refreshed(page, check)
    for page, text in pages.items():
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(page)
            if not check:
                page.parent.mkdir(parents=True, exist_ok=True)
                page.write_text(text, encoding="utf-8")
    for page in stale:
        print(f"{'not up to date' if check else 'wrote'}: {page.relative_to(ROOT)}", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main("--check" in arguments, [name for name in arguments if not name.startswith("--")]))
