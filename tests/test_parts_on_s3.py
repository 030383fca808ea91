"""s3:// itself: pictures read from a bucket and parts written into one, with a kill in between, as in a folder.

They run where the packages are: pip install "striate[cloud]" s3fs "moto[server]"
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import striate
from striate.errors import DataError, RunError
from tests.test_parts import COUNT, contents, photos, shipped, whole  # noqa: F401

pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def bucket(photos, monkeypatch):  # noqa: F811
    """s3fs's file system of a server of this machine, with the bucket `ours` and the pictures in ours/photos."""
    import s3fs

    serving = server.ThreadedMotoServer(port=0)
    serving.start()
    host, port = serving.get_host_and_port()
    told = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    told |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    storage = s3fs.S3FileSystem()
    storage.mkdir("ours")
    for path in photos.rglob("*.png"):
        storage.pipe_file(f"ours/photos/{path.relative_to(photos)}", path.read_bytes())
    yield storage
    storage.rm("ours", recursive=True)
    serving.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_pictures_of_a_bucket_are_answered_into_a_bucket_and_the_rest_after_a_loss(bucket, shipped, photos, whole):  # noqa: F811
    done = striate.predict_to_parts(shipped, "s3://ours/photos", "s3://ours/parts", rows_per_part=3)
    assert done.folder == "s3://ours/parts" and done[1:] == (COUNT + 1, 1, 4, 4)
    assert "s3://ours/parts/_unreadable-….csv" in str(done)

    def read_parts() -> dict[str, bytes]:
        names = [name for name in bucket.ls("ours/parts", detail=False, refresh=True) if "part-" in name]
        return {name.rpartition("/")[2]: bucket.cat_file(name) for name in names}

    # The names are sorted by folders first on this machine, by the storage's own order there.
    def sort_rows(parts: dict[str, bytes], before: str) -> list[str]:
        return sorted(row.replace(before, "") for one in parts.values() for row in one.decode().splitlines()[1:])

    here = {name: content for name, content in contents(whole.folder).items() if name.startswith("part")}
    first = read_parts()
    assert sort_rows(first, "s3://ours/photos") == sort_rows(here, str(photos))
    bucket.rm_file("ours/parts/part-00001.csv")
    again = striate.predict_to_parts(shipped, "s3://ours/photos", "s3://ours/parts", rows_per_part=3, resume=True)
    assert again.written == 1 and read_parts() == first
    assert {name.rpartition("/")[2] for name in bucket.ls("ours/parts", detail=False, refresh=True)} == {
        "_pictures.jsonl", "_plan.json", *first, *(n for n in contents(whole.folder) if n.startswith("_")),
    }  # fmt: skip


def test_a_command_that_is_killed_goes_on_in_the_bucket(bucket, shipped, photos, tmp_path):  # noqa: F811
    table = tmp_path / "many.txt"
    table.write_text("".join(f"{photos}/{k:02}.png\n" for k in [0, 2, 4, 6, 8] * 200))
    out = "s3://ours/many"
    command = [sys.executable, "-m", "striate", "predict", shipped, table, "--out", out, "--rows-per-part", "20"]

    def list_parts() -> list[str]:
        bucket.invalidate_cache()
        return sorted(name for name in bucket.find("ours/many") if "/part-" in name)

    with subprocess.Popen(command) as begun:
        until = time.monotonic() + 60
        while not list_parts():
            assert begun.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        begun.kill()
    time.sleep(1)  # the part under way is still written
    assert len(list_parts()) < 50 and bucket.exists("ours/many/_writer.json")
    subprocess.run([*command, "--resume"], check=True)
    rows = [row for name in list_parts() for row in bucket.cat_file(name).decode().splitlines()[1:]]
    assert [row.partition(",")[0] for row in rows] == table.read_text().split()
    assert not bucket.exists("ours/many/_writer.json")


def test_a_bucket_that_is_not_there_is_not_made_and_said(bucket, shipped, photos, tmp_path):  # noqa: F811
    with pytest.raises(DataError, match="s3://theirs/photos: there is nothing at this address"):
        striate.predict_to_parts(shipped, "s3://theirs/photos", tmp_path / "parts")
    with pytest.raises(RunError, match="s3://theirs/parts/_writer.json: this cannot be read or written: .*bucket"):
        striate.predict_to_parts(shipped, photos, "s3://theirs/parts")
    assert not bucket.exists("theirs")


def test_wrong_or_missing_credentials_are_said(shipped, photos, tmp_path):  # noqa: F811
    """The server of a process of its own, which asks for a key that it knows."""
    command = [sys.executable, "-m", "moto.server", "-p", "0"]
    strict = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "0", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=strict, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as serving:
        address = next(line.split("Running on ")[1].split()[0] for line in serving.stderr if "Running on " in line)
        told = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | told
        bare |= {"HOME": str(tmp_path)}
        wrong = bare | {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
        for given, why in ((wrong, "Access"), (bare, "credentials")):
            for pictures, out in (("s3://ours/photos", tmp_path / "parts"), (photos, "s3://ours/parts")):
                asked = [sys.executable, "-m", "striate", "predict", shipped, pictures, "--out", out]
                done = subprocess.run(asked, env=given, capture_output=True, text=True)
                assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
                assert done.stderr.startswith("error: s3://ours/") and why in done.stderr, done.stderr
        serving.terminate()
