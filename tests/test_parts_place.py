"""Where parts lie, who writes there, and how far they are: one writer a folder, in a storage as on this machine."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import pytest

import striate
from striate.data.images import Skipped
from striate.data.sources.remote import StorageError
from striate.errors import RunError
from striate.model.exported import load_exported
from striate.parts import holding
from striate.parts.holding import Writer, hold_folder, read_writer
from striate.parts.place import NAMES, WRITER, open_folder
from striate.parts.progress import PartsProgress, show_parts
from striate.parts.writing import answer_in_turn
from tests.test_parts import COUNT, contents, photos, shipped, whole  # noqa: F401


def test_parts_in_a_storage_are_those_of_a_folder_and_go_on_there(shipped, photos, whole, tmp_path):  # noqa: F811
    pytest.importorskip("fsspec")
    address = f"local://{tmp_path}/parts"  # a storage whose files are renamed once they are whole
    begun = []
    done = striate.predict_to_parts(shipped, photos, address, rows_per_part=3, on_part=begun.append)
    assert done.folder == address and done[1:] == (COUNT + 1, 1, 4, 4)
    assert contents(tmp_path / "parts") == contents(whole.folder)
    assert {one.name for one in (tmp_path / "parts").iterdir()} == {one.name for one in whole.folder.iterdir()}
    assert [(now.done, now.parts, now.left) for now in begun] == [(1, 4, 9), (2, 4, 6), (3, 4, 3), (4, 4, 0)]
    (tmp_path / "parts" / "part-00002.csv").unlink()
    (tmp_path / "parts" / ".part-00002.csv.x.part").write_text("half")
    again = striate.predict_to_parts(shipped, photos, address, rows_per_part=3, resume=True)
    assert again.written == 1 and contents(tmp_path / "parts") == contents(whole.folder)
    assert not list((tmp_path / "parts").glob(".*"))
    with pytest.raises(RunError, match="begun otherwise: --rows-per-part"):
        striate.predict_to_parts(shipped, photos, address, rows_per_part=4, resume=True)
    with pytest.raises(RunError, match="this folder holds other files"):
        striate.predict_to_parts(shipped, photos, f"local://{photos}", resume=True)


def test_a_file_of_a_storage_is_read_in_pieces_and_what_is_not_there_is_said_so():
    pytest.importorskip("fsspec")
    place = open_folder("memory://parts/here")
    assert place.list_files() == set() and not place.is_file()
    place.keep_file(NAMES, b"0123456789")
    assert place.read_file(NAMES, 3, 4) == b"3456" and place.read_file(NAMES) == b"0123456789"
    assert place.list_files() == {NAMES} and place.show_file(NAMES) == "memory://parts/here/_pictures.jsonl"
    place.remove_file(NAMES)
    place.remove_file(NAMES)
    with pytest.raises(FileNotFoundError):
        place.read_file(NAMES)


def test_a_storage_that_does_not_answer_is_no_unreadable_picture(shipped, monkeypatch):  # noqa: F811
    fsspec = pytest.importorskip("fsspec")
    model = load_exported(shipped)
    [lost] = answer_in_turn(model, ["memory://photos/lost.png"], 1)
    assert isinstance(lost, Skipped) and lost.why == "there is no such file"

    def refuse(self, *given, **more):
        raise PermissionError("the token has expired")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
    with pytest.raises(StorageError, match="photos/lost.png: the storage cannot be read: the token has expired"):
        list(answer_in_turn(model, ["memory://photos/lost.png"], 1))


def test_a_second_process_is_told_who_writes_and_one_that_was_killed_holds_nothing(shipped, photos, whole, tmp_path):  # noqa: F811
    pytest.importorskip("fcntl")
    out = tmp_path / "parts"
    command = [sys.executable, "-m", "striate", "predict", shipped, "-", "--out", out, "--rows-per-part", "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as first:  # it waits for names, and holds the folder
        until = time.monotonic() + 60
        while not (out / WRITER).exists() or not (out / WRITER).read_bytes():
            assert first.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        for resume in (True, False):
            with pytest.raises(RunError, match="another process writes into this folder") as refused:
                striate.predict_to_parts(shipped, photos, out, rows_per_part=3, resume=resume)
            told = refused.value.as_dict()
            assert told["got"].startswith(f"process {first.pid} on {socket.gethostname()}, since 2")
            assert "--resume goes on" in told["hint"]
        first.send_signal(signal.SIGKILL)
    assert (out / WRITER).exists()
    striate.predict_to_parts(shipped, photos, out, rows_per_part=3, resume=True)
    assert contents(out) == contents(whole.folder) and not (out / WRITER).exists()


def test_of_many_at_once_one_has_the_folder(tmp_path):
    pytest.importorskip("fcntl")
    place, inside, had = open_folder(tmp_path / "parts"), [], []

    def come() -> None:
        try:
            with hold_folder(place):
                inside.append(1)
                assert len(inside) == 1
                had.append(1)
                time.sleep(0.001)
                inside.pop()
        except RunError:
            pass

    crowd = [threading.Thread(target=come) for _ in range(50)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert had and not inside and list((tmp_path / "parts").iterdir()) == []


@pytest.fixture
def storage(monkeypatch, tmp_path):
    """A storage whose writers are renewed, and given up, sooner than elsewhere."""
    pytest.importorskip("fsspec")
    monkeypatch.setattr(holding, "RENEWAL_SECONDS", 0.02)
    monkeypatch.setattr(holding, "UNRENEWED_SECONDS", 0.3)
    return open_folder(f"memory://{tmp_path.name}/parts")


def put_writer(place, **told) -> None:
    one = Writer(**{"host": "elsewhere", "process": 17, "since": "2026-01-01 00:00:00", "token": "a"} | told)
    place.keep_file(WRITER, msgspec.json.encode(one))


def test_who_renews_a_storages_file_holds_it_until_the_end(storage):
    with hold_folder(storage) as check_held:
        with pytest.raises(RunError, match="another process writes into this folder") as refused:
            with hold_folder(storage):
                pass
        assert refused.value.as_dict()["got"].startswith(f"process {os.getpid()} on {socket.gethostname()}")
        check_held()
    assert storage.list_files() == set()
    with hold_folder(storage):
        pass


def test_a_storages_file_that_nobody_renews_is_taken_over_and_who_had_it_finds_out(storage):
    put_writer(storage)
    began = time.monotonic()
    with hold_folder(storage) as check_held:
        assert time.monotonic() - began >= 0.3 and read_writer(storage).host == socket.gethostname()
        put_writer(storage, token="another")
        until = time.monotonic() + 10
        with pytest.raises(RunError, match="another process writes into this folder"):
            while time.monotonic() < until:
                check_held()
                time.sleep(0.01)
    assert read_writer(storage).token == "another"  # it is not who came later that is taken away


def test_a_storages_writer_of_this_machine_that_has_ended_is_not_waited_for(storage, monkeypatch):
    monkeypatch.setattr(holding, "UNRENEWED_SECONDS", 1000.0)
    ended = subprocess.Popen(["true"])
    ended.wait()
    put_writer(storage, host=socket.gethostname(), process=ended.pid)
    with hold_folder(storage):
        pass


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream, told", [(Terminal, True), (io.StringIO, False)])
def test_a_terminal_is_told_how_far_the_parts_are_and_a_pipe_is_not(monkeypatch, capsys, stream, told):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream())
    with show_parts() as show:
        show(PartsProgress(3, 990, 10, 4, 9, 2000, 5000, 40.0))
        print("a library's own words")
        time.sleep(0.15)  # the line is drawn some times a second
    said = sys.stderr.getvalue()
    assert ("4 of 9 parts, 50.0 pictures a second, 1 min 40 s left" in said) is told and ("parts" in said) is told
    assert "a library's own words" in said and capsys.readouterr().out == ""
