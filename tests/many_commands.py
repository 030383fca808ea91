"""Several command lines in one process of their own, which spares what each would load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests import forked

PROGRAM = """
import contextlib, io, json, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in WITHOUT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
WITHOUT = set(json.loads(sys.argv[2]))
sys.meta_path.insert(0, Missing())
from striate.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv, out, err, code = ["striate", *words], io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as e:
            code = e.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run_many(lines: Sequence[Sequence[str]], folder: Path, without: Sequence[str] = ()) -> list[Ended]:
    """What became of each command line, run one after the other in `folder`.

    without  packages that are as if not installed
    """
    environment = os.environ | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    asked = ["-c", PROGRAM, json.dumps([list(words) for words in lines]), json.dumps(list(without))]
    if without:  # a forked one has torch loaded already
        asked = [sys.executable, *asked]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, env=environment, check=True)
    else:
        done = forked.run(asked, cwd=folder, env=environment)
    found = [Ended(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(lines), done.stderr
    return found
