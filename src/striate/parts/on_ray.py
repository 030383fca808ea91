"""Parts written by a cluster: Ray Data hands the slices to its workers, and those of one that dies to others.

Each worker is sent the model's file, so that all have the same one, and writes its parts itself. Names of files are
those of the machine that asks: a worker that does not find the folder, or the pictures, says so instead of answering.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..data.sources.remote import is_remote
from ..errors import RunError, StriateError
from ..language import say
from ..model.fetch import is_url
from ..model.opening import load
from .place import PartsFolder, name_part, open_folder
from .plan import PartsPlan, Slice, digest_model, read_names, read_plan
from .writing import PartCount, write_part

# A part whose worker dies is begun so often at most: a picture on which every worker dies ends the run.
ATTEMPTS = 4
# Seconds in which a cluster's head must answer.
PATIENCE = 10.0


class Errand(NamedTuple):
    """What every worker is told.

    out      the folder of the parts;  folder  from which names of files without a "/" before them are meant
    witness  a picture's file, or None where all are addresses: who does not find it does not find the others
    version  of striate;  suffix  of the model's file, "" where the model is loaded by its name
    """

    out: str
    plan: PartsPlan
    folder: str
    witness: str | None
    version: str
    suffix: str


def share_on_ray(
    place: PartsFolder, plan: PartsPlan, slices: list[Slice], workers: int | None
) -> Generator[PartCount, None, None]:
    """Have a cluster write these parts: that of RAY_ADDRESS or of this machine, or one that is started here for it.

    workers  processes; None: one for each core of the cluster
    Raises RunError, also where Ray gives up. A worker that dies is replaced, and its part computed again.
    """
    if not slices:
        return
    import ray
    from ray.exceptions import RayError

    was_there = ray.is_initialized()
    try:
        if not was_there:
            start_ray(ray)
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(slices))
        for row in hand_out(ray, make_errand(place, plan, slices), read_model_bytes(plan), slices, count):
            yield read_row(row)
    except RayError as e:
        what = say("Ray gave up: {why}", why=" ".join(str(e).split())[-300:])
        raise RunError(place.address, what, hint=say("once it can be, --resume goes on")) from None
    finally:
        if not was_there:
            ray.shutdown()


def start_ray(ray: Any) -> None:
    """Join the cluster of RAY_ADDRESS or of this machine, else start one here. Raises RunError."""
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        check_answer(address)
        ray.init(log_to_driver=False, logging_level="error")
    except (ConnectionError, OSError, RuntimeError, ValueError) as e:
        what = say("there is no way to the cluster: {why}", why=" ".join(str(e).split())[:300])
        raise RunError(f"RAY_ADDRESS={address}", what, hint=say("ray status tells whether it is up")) from None


def check_answer(address: str) -> None:
    """Raise OSError where nobody answers at host:port or ray://host:port: Ray itself tries for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def hand_out(ray: Any, errand: Errand, model: bytes, slices: list[Slice], workers: int) -> Any:
    """The rows that workers answer, as they come."""
    context = ray.data.DataContext.get_current()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()
    data = ray.data.from_items([one._asdict() for one in slices], override_num_blocks=len(slices))
    return data.map_batches(
        PartWriter,
        fn_constructor_args=(errand, ray.put(model), attempts),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
        num_cpus=1,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    ).iter_rows()


class Attempts:
    """How often each part has been begun: Ray Data itself would begin it for ever."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def count_attempt(self, part: int) -> int:
        self.counts[part] += 1
        return self.counts[part]


class PartWriter:
    """A worker: a batch is one slice, and its answer one row. What it raises itself is in the row, not lost with it."""

    def __init__(self, errand: Errand, model: Any, attempts: Any) -> None:
        import ray

        self.errand, self.attempts, self.get = errand, attempts, ray.get
        self.error: StriateError | None = None
        try:
            self.place = check_machine(errand)
            self.model = open_sent_model(errand, ray.get(model))
        except StriateError as e:
            self.error = e

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        slice = Slice(*(int(batch[name][0]) for name in Slice._fields))
        try:
            if self.error:
                raise self.error
            if self.get(self.attempts.count_attempt.remote(slice.part)) > ATTEMPTS:
                raise explain_deadly(self.place, self.errand.plan, slice.part)
            names = read_names(self.place, slice)
            count = write_part(self.model, self.place, self.errand.plan, slice.part, names)
            told = ""
        except StriateError as e:
            count, told = PartCount(slice.part, 0, 0), json.dumps({"where": str(e.where), **e.as_dict()})
        return {**{name: [value] for name, value in count._asdict().items()}, "error": [told]}


def explain_deadly(place: PartsFolder, plan: PartsPlan, part: int) -> RunError:
    what = say("{count} workers ended, each while it computed this part", count=ATTEMPTS)
    hint = say("one of its pictures, or too little memory, ends them; --engine processes --workers 1 may tell more")
    return RunError(place.show_file(name_part(part, plan.format)), what, hint=hint)


def read_row(row: dict[str, Any]) -> PartCount:
    """What became of a slice. Raises RunError where its worker did."""
    if row["error"]:
        told = json.loads(row["error"])
        raise RunError(told.pop("where"), told.pop("what"), **told)
    return PartCount(*(int(row[name]) for name in PartCount._fields))


def make_errand(place: PartsFolder, plan: PartsPlan, slices: list[Slice]) -> Errand:
    out = place.address if place.storage is not None else os.path.abspath(place.root)
    path = find_model_file(plan)
    return Errand(
        out, plan, os.getcwd(), find_witness(read_names(place, slices[0])), __version__, path.suffix if path else ""
    )


def find_witness(names: list[str]) -> str | None:
    """The first of these that is a file of this machine."""
    files = (name for name in names if not is_remote(name) and not is_url(name))
    return next((os.path.abspath(name) for name in files if os.path.exists(name)), None)


def find_model_file(plan: PartsPlan) -> Path | None:
    path = load(plan.run, plan.weights).path
    return path if path is not None and path.is_file() else None


def read_model_bytes(plan: PartsPlan) -> bytes:
    path = find_model_file(plan)
    return path.read_bytes() if path else b""


def open_sent_model(errand: Errand, sent: bytes) -> Any:
    """The model that was sent, or of this name. Raises ModelError; RunError where it is another one."""
    if errand.suffix:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{errand.suffix}"
            path.write_bytes(sent)
            return load(path)
    if digest_model(errand.plan.run, errand.plan.weights) != errand.plan.model:
        what = say("the machine {host} has another model of this name", host=socket.gethostname())
        raise RunError(errand.plan.run, what)
    return load(errand.plan.run, errand.plan.weights)


def check_machine(errand: Errand) -> PartsFolder:
    """The folder of the parts as this machine has it. Raises RunError where it is not the one that was begun."""
    host = socket.gethostname()
    if __version__ != errand.version:
        what = say("the machine {host} has another version of striate", host=host)
        raise RunError("striate", what, got=__version__, rule=errand.version)
    place = open_folder(errand.out)
    if read_plan(place) != errand.plan:
        what = say("the machine {host} does not see this folder", host=host)
        hint = say("--out with a folder that all machines share, or an address such as s3://bucket/parts")
        raise RunError(errand.out, what, hint=hint)
    if errand.witness is not None:
        if not os.path.exists(errand.witness):
            what = say("the machine {host} does not see this picture", host=host)
            hint = say(
                "put the pictures into a folder that all machines share, or name addresses such as s3://bucket/photos"
            )
            raise RunError(errand.witness, what, hint=hint)
        if os.path.isdir(errand.folder):  # it is not, where all names begin with "/"
            os.chdir(errand.folder)
    return place
