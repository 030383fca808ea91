"""A process that writes parts: `python -m striate.parts.worker FOLDER`, a slice a line on stdin, its counts on stdout.

It is a program of its own so that nothing of whoever starts it is run again, as `multiprocessing` would.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from ..errors import StriateError
from ..model.opening import load
from .place import open_folder
from .plan import Slice, read_names, read_plan
from .writing import write_part


def work_on_parts(out: str) -> None:
    """Do what stdin says until it ends: also where whoever asked was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by whoever asked
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        place = open_folder(out)
        plan = read_plan(place)
        assert plan is not None
        model = load(plan.run, plan.weights)
        for line in sys.stdin:
            slice = Slice(*json.loads(line))
            answers.write(json.dumps(write_part(model, place, plan, slice.part, read_names(place, slice))) + "\n")
    except StriateError as e:
        answers.write(json.dumps({"where": str(e.where), **e.as_dict()}) + "\n")
    except BrokenPipeError:
        return


if __name__ == "__main__":
    work_on_parts(sys.argv[1])
