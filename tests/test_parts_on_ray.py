"""A cluster's parts are one machine's: of two Ray workers of this machine, a broken file, a killed worker, a resume.

What needs Ray itself is run where that is installed: pip install "striate[ray]"; python -m pytest -m slow FILE
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import striate
from striate.errors import ModelError, RunError, StriateError
from striate.parts.on_ray import Errand, check_machine, find_witness, make_errand, open_sent_model, read_model_bytes
from striate.parts.place import open_folder
from striate.parts.plan import list_names, read_plan, stream_pictures
from striate.parts.predicting import list_slices
from tests.test_parts import COUNT, contents, photos, rows, shipped, whole  # noqa: F401

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def errand(whole, photos) -> Errand:  # noqa: F811
    place = open_folder(whole.folder)
    plan = read_plan(place)
    _, _, starts = list_names(stream_pictures([str(photos)]), plan.rows_per_part)
    return make_errand(place, plan, list(list_slices(plan, starts)))


def test_a_machine_that_lacks_the_folder_the_pictures_or_the_version_says_so(errand, photos, tmp_path):  # noqa: F811
    assert errand.witness == str(photos / "00.png") and check_machine(errand).folder == Path(errand.out)
    host = socket.gethostname()
    wrong = {
        f"the machine {host} does not see this folder": errand._replace(out=str(tmp_path)),
        f"the machine {host} does not see this picture": errand._replace(witness=str(tmp_path / "00.png")),
        f"the machine {host} has another version of striate": errand._replace(version="0.0.1"),
    }
    for what, other in wrong.items():
        with pytest.raises(RunError, match=what):
            check_machine(other)


def test_a_witness_is_a_file_that_is_there_and_an_address_is_none(photos):  # noqa: F811
    names = ["s3://bucket/a.png", "http://example.org/a.png", "lost.png", f"{photos}/00.png", f"{photos}/02.png"]
    assert find_witness(names) == f"{photos}/00.png" and find_witness(names[:3]) is None


def test_the_model_that_is_sent_answers_as_the_one_that_was_named(errand, shipped):  # noqa: F811
    sent = open_sent_model(errand, read_model_bytes(errand.plan))
    assert sent.classes == striate.load(shipped).classes
    with pytest.raises(ModelError):
        open_sent_model(errand, b"")


def test_without_ray_the_extra_is_named(shipped, photos, tmp_path):  # noqa: F811
    if find_spec("ray") is not None:
        pytest.skip("Ray is installed")
    with pytest.raises(
        StriateError, match="--engine ray: this needs the package ray, which is not installed"
    ) as missing:
        striate.predict_to_parts(shipped, photos, tmp_path / "parts", engine="ray")
    assert missing.value.hint == 'pip install "striate[ray]"' and not (tmp_path / "parts").exists()


@pytest.fixture(scope="module")
def cluster():
    """Two workers of this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, address="local")
    yield ray
    ray.shutdown()


@pytest.fixture
def many(photos, tmp_path) -> Path:  # noqa: F811
    """The names of 1,200 pictures and of a file that is none."""
    table = tmp_path / "many.txt"
    names = [f"{photos}/{k:02}.png" for k in [0, 2, 4, 6, 8] * 240]
    names[500:500] = [f"{photos}/05x.png"]
    table.write_text("".join(f"{name}\n" for name in names))
    return table


def list_workers(parent: int) -> list[int]:
    """The processes below `parent` that Ray Data has given a part to write."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += list_workers(child)
            try:
                name = Path(f"/proc/{child}/cmdline").read_bytes()
            except OSError:
                continue
            found += [child] if name.startswith(b"ray::") and b"PartWriter" in name else []
    return found


@pytest.mark.slow
@needs_ray
@pytest.mark.filterwarnings("default")
def test_two_workers_of_a_cluster_write_the_parts_of_one_process(cluster, shipped, photos, whole, tmp_path):  # noqa: F811
    told = []
    done = striate.predict_to_parts(
        shipped, photos, tmp_path / "parts", rows_per_part=3, engine="ray", workers=2, on_part=told.append
    )
    assert done[1:] == (COUNT + 1, 1, 4, 4) and contents(done.folder) == contents(whole.folder)
    assert {one.name for one in done.folder.iterdir()} == {one.name for one in whole.folder.iterdir()}
    assert sorted(now.part for now in told) == [0, 1, 2, 3] and told[-1].left == 0
    assert cluster.is_initialized()  # who had begun it ends it
    (done.folder / "part-00001.csv").unlink()
    address = f"local://{done.folder}"
    again = striate.predict_to_parts(shipped, photos, address, rows_per_part=3, engine="ray", resume=True)
    assert again.written == 1 and contents(done.folder) == contents(whole.folder)


@pytest.mark.slow
@needs_ray
@pytest.mark.filterwarnings("default")
def test_a_worker_that_is_killed_costs_no_row_and_gives_none_twice(cluster, shipped, many, tmp_path):  # noqa: F811
    killed = []

    def kill_one(now):
        if not killed and (at_work := list_workers(os.getpid())):
            os.kill(at_work[0], signal.SIGKILL)
            killed.append(now.done)

    options = {"rows_per_part": 20, "workers": 2}
    done = striate.predict_to_parts(shipped, many, tmp_path / "parts", engine="ray", on_part=kill_one, **options)
    assert killed and killed[0] < done.parts == 61 and done.unreadable == 1
    one = striate.predict_to_parts(shipped, many, tmp_path / "one", **options)
    assert contents(done.folder) == contents(one.folder)
    assert [row[0] for row in rows(done.folder)] == [n for n in many.read_text().split() if "05x" not in n]


DEADLY = """
import fsspec
fsspec.register_implementation("deadly", "deadly.Deadly")
"""
DEADLY_STORAGE = """
import os, fsspec
class Deadly(fsspec.AbstractFileSystem):
    protocol = "deadly"
    def isfile(self, path):
        return True
    def cat_file(self, *given, **more):
        os._exit(1)
"""


@pytest.mark.slow
@needs_ray
def test_a_picture_on_which_every_worker_dies_ends_the_run_in_words(shipped, photos, tmp_path):  # noqa: F811
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    (tmp_path / "deadly.py").write_text(DEADLY_STORAGE)
    told = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    asked = [sys.executable, "-m", "striate", "predict", shipped, "deadly://a.png", photos, "--out", tmp_path / "parts"]
    asked += ["--engine", "ray", "--workers", "1", "--rows-per-part", "5"]
    done = subprocess.run(asked, env=told | {"RAY_ADDRESS": "local"}, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    assert "parts/part-00000.csv: 4 workers ended, each while it computed this part" in done.stderr, done


@pytest.mark.slow
@needs_ray
def test_a_command_that_is_killed_on_a_cluster_goes_on_without_one(shipped, many, tmp_path):  # noqa: F811
    out = tmp_path / "parts"
    command = [sys.executable, "-m", "striate", "predict", shipped, many, "--out", out, "--rows-per-part", "20"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    ray = [*command, "--engine", "ray", "--workers", "2"]
    with subprocess.Popen(ray, env=environment, stderr=subprocess.PIPE, text=True) as begun:
        until = time.monotonic() + 120
        while not list(out.glob("part-*")):
            assert begun.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        begun.kill()
    assert len(list(out.glob("part-*"))) < 61
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 1 and "1200 rows in 61 parts, 1 unreadable" in done.stdout.replace(",", "", 1)
    assert [row[0] for row in rows(out)] == [n for n in many.read_text().split() if "05x" not in n]
    lost = subprocess.run([*ray, "--resume"], env=environment | {"RAY_ADDRESS": "127.0.0.1:1"}, capture_output=True)
    assert lost.returncode == 1, lost  # there was nothing left for a cluster to do
    (out / "part-00000.csv").unlink()
    lost = subprocess.run(
        [*ray, "--resume"], env=environment | {"RAY_ADDRESS": "127.0.0.1:1"}, capture_output=True, text=True
    )
    assert lost.returncode == 2 and "RAY_ADDRESS=127.0.0.1:1: there is no way to the cluster" in lost.stderr
