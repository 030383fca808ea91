"""The terminal's edge: any encoding, any name, a reader that goes away, a full disk, and what is not installed."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.browser.joining import format_inline_json
from striate.cli import app, main
from striate.engines import plain
from striate.engines.model_file import ModelHeader, Preprocess, save_model
from striate.errors import StriateError
from striate.extras import EXTRAS
from striate.terminal import ASCII_SIGNS, format_row, make_printable, replace_unencodable
from tests.many_commands import run_many

NASTY = "a\x1b[31mred\x07\u202e\u2028b\x85"
"""A name with an escape sequence, a bell, a turn of direction and line ends beside the usual ones."""

PICTURE = f"{NASTY}\n\tc.png"


class Done(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


def program(*words: str, folder: Path, **more) -> subprocess.CompletedProcess:
    """The command line in a process of its own."""
    environment = os.environ | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    given = {"capture_output": True} | more
    return subprocess.run([sys.executable, "-m", "striate", *words], cwd=folder, env=environment, **given)


def command(*words: str, folder: Path, encoding: str = "utf-8") -> Done:
    """The command line in this process, its stdout and stderr files in `encoding` as a shell would redirect them."""
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, contextlib.chdir(folder):
        ends = [open(os.dup(end.fileno()), "w", encoding=encoding, errors="strict") for end in (out, err)]
        sys.argv, sys.stdin, sys.stdout, sys.stderr = ["striate", *words], io.StringIO(), *ends
        try:
            main()
        except SystemExit as e:
            code = e.code
        finally:
            sys.argv, sys.stdin, sys.stdout, sys.stderr = before
            for end in ends:
                end.close()
        for end in (out, err):
            end.seek(0)
        return Done(code, out.read(), err.read())


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model of two classes, its exported file, and labelled images, all with names that are nasty."""
    folder = tmp_path_factory.mktemp("place")
    net = striate.Net((1, 8, 8), [striate.Conv(2, 3), striate.ReLU(), striate.Flatten(), striate.Dense(2)])
    tensors = {name: array.astype(np.float32) for name, array in plain.draw_tensors(net, 0).items()}
    header = ModelHeader(net=net, classes=(NASTY, "plain"), preprocess=Preprocess((8, 8), "pad", (0.5,), (0.25,)))
    save_model(folder / "model.safetensors", header, tensors)
    striate.load(folder / "model.safetensors").export(folder / "model.onnx")
    (folder / "ran").mkdir()
    (folder / "ran" / "recipe.json").write_text('{"data": "data", "recipe": {}}')
    draw = np.random.default_rng(0)
    for label in (NASTY, "plain"):
        (folder / "data" / label).mkdir(parents=True)
        for i in range(12):
            pixels = draw.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / label / (PICTURE if i == 0 else f"{i}.png"))
        (folder / "data" / label / f"{NASTY}.jpg").write_text("no image")
    return folder


DATA = f"data/{NASTY}/{PICTURE}"
COMMANDS = {
    "summary": ("summary", "model.safetensors"),
    "summary of a zoo net": ("summary", "lenet5"),
    "what if": ("summary", "lenet5", "--what-if"),
    "compare": ("compare", "lenet5", "model.safetensors"),
    "draw": ("draw", "lenet5", "-o", "x.svg"),
    "profile": ("profile", "model.safetensors", "--runs", "1"),
    "check": ("check", "data"),
    "train": ("train", "data", "--net", "lenet5", "--epochs", "1", "--out"),
    "find-lr": ("find-lr", "data", "--net", "lenet5", "--steps", "10", "--picture", "r.svg"),
    "sweep": ("sweep", "data", "--trials", "1", "--epochs", "1", "--net", "lenet5", "--augment", "none", "--out"),
    "evaluate": ("evaluate", "model.safetensors", "data"),
    "evaluate an exported file": ("evaluate", "model.onnx", "data"),
    "calibrate": ("calibrate", "model.safetensors", "data"),
    "correct": ("correct", "ran", f"{NASTY}/{PICTURE}", "plain"),
    "suggest": ("suggest", DATA, "--run", "ran"),
    "label": ("label", "ran", DATA, "plain"),
    "predict": ("predict", "model.safetensors", "data"),
    "predict with an exported file": ("predict", "model.onnx", DATA, f"data/plain/{NASTY}.jpg"),
    "trace": ("trace", "model.safetensors", DATA, "--at", "conv1[0,1,1]"),
    "export": ("export", "model.safetensors", "-o", "x.onnx"),
    "filter": ("filter", DATA, "-o", "f.png", "--at", "1,1"),
    "learn": ("learn", "-o", "l.html"),
    "step": ("step", "[[1,2],[3,4]]", "--pool", "max"),
    "invariance": ("invariance", "model.safetensors", "data", "--images", "4", "--shifts", "1"),
    "explain": ("explain", "model.safetensors", DATA, "-o", "e.html"),
    "examples": ("examples", "model.safetensors", "data", "--layer", "conv1", "-o", "x.png"),
    "dream": ("dream", "model.safetensors", "--layer", "conv1", "--steps", "2", "-o", "d.png"),
    "ablate": ("ablate", "model.safetensors", "data", "-o", "l.png"),
    "embed": ("embed", "model.safetensors", "data", "-o", "m.png"),
    "inside": ("inside", "model.safetensors", DATA, "-o", "i.html"),
    "prove": ("prove", "model.onnx", "data"),
    "push": ("push", "model.safetensors", f"{NASTY}/digits"),
    "a file that is not there": ("predict", NASTY, NASTY),
    "a net that is not there": ("summary", NASTY),
    "a folder of one class": ("train", f"data/{NASTY}"),
}
"""Every command that ends by itself. `train` and `sweep` get a new folder each time."""


def words(name: str, tmp_path: Path) -> tuple[str, ...]:
    given = COMMANDS[name]
    return (*given, str(tmp_path / "run")) if given[-1] == "--out" else given


def test_every_command_is_tried():
    listed = striate_commands()
    assert {given[0] for given in COMMANDS.values()} == listed - {"serve", "studio", "help"}


def striate_commands() -> set[str]:
    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_encoding_and_no_name_breaks_a_command_or_the_terminal(place, tmp_path, name, encoding):
    """To stdout as data, only what quoting leaves of a name; on stderr and in texts nothing that moves a cursor."""
    done = command(*words(name, tmp_path), folder=place, encoding=encoding)
    said, told = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode in (0, 1, 2) and "Traceback" not in told, told
    loose = said if name.split()[0] not in ("correct", "suggest", "label", "predict", "examples", "embed") else ""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", loose + told.replace("\r\n", "\n"))


@pytest.mark.parametrize("form", ["", "--csv"])
def test_what_predict_prints_is_read_back_as_csv_with_every_name_as_it_is(place, form):
    done = command("predict", "model.safetensors", "data", *form.split(), folder=place)
    text = done.stdout.decode()
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="," if form else "\t"))[bool(form) :]
    assert len(rows) == 24 and all(len(cells) == 3 for cells in rows)
    assert {f"data/{NASTY}/{PICTURE}", f"data/plain/{PICTURE}"} <= {cells[0] for cells in rows}
    assert {cells[1] for cells in rows} <= {NASTY, "plain"}


@pytest.mark.parametrize("name", ["predict", "check"])
def test_on_a_terminal_nothing_of_a_name_moves_the_cursor(place, name):
    pty = pytest.importorskip("pty")
    main, side = pty.openpty()
    done = program(*COMMANDS[name], folder=place, capture_output=False, stdout=side, stderr=side)
    os.close(side)
    said = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux's end of a pseudo-terminal
            break
        if not part:
            break
        said += part
    os.close(main)
    assert done.returncode in (0, 1)
    assert "�" in said.decode() and not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", said.decode())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_whole_in_every_encoding(place, encoding):
    done = command("predict", "model.safetensors", "data", "--json", folder=place, encoding=encoding)
    lines = done.stdout.decode(encoding).splitlines()
    assert len(lines) == 24
    assert {json.loads(line)["file"] for line in lines} >= {f"data/{NASTY}/{PICTURE}"}


def test_a_name_that_is_no_text_is_printed_by_its_bytes_and_read_from_stdin(place, tmp_path):
    name = b"caf\xe9.png"
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.path.join(os.fsencode(tmp_path), name))
    done = program("predict", str(place / "model.onnx"), "-", folder=tmp_path, input=name + b"\n")
    assert done.stdout.split(b"\t")[0] == name and done.returncode == 0


def test_a_page_is_utf_8_whatever_the_encoding(place):
    done = command("check", "data", "--format", "html", folder=place, encoding="ascii")
    assert "�" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("given", [("summary", "resnet152"), ("--help",)])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line_and_no_success(tmp_path, given):
    with open("/dev/full", "wb") as full:
        done = program(*given, folder=tmp_path, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.stderr == b"error: stdout: cannot write: no space left on device\n" and done.returncode == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stderr_is_no_success(place, tmp_path):
    for name in ("predict with an exported file", "a net that is not there"):
        with open("/dev/full", "wb") as full:
            given = words(name, tmp_path / name)
            done = program(*given, folder=place, capture_output=False, stdout=subprocess.PIPE, stderr=full)
        assert done.returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="SIGPIPE's exit code is Unix's")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_goes_away_ends_the_program_as_others_without_a_word(place, stream):
    read, write = os.pipe()
    os.close(read)
    given = COMMANDS["summary"] if stream == "stdout" else ("predict", "model.onnx", f"data/plain/{NASTY}.jpg")
    other = "stderr" if stream == "stdout" else "stdout"
    ends = {stream: write, other: subprocess.PIPE}
    done = program(*given, folder=place, capture_output=False, **ends)
    os.close(write)
    assert done.returncode == 141 and getattr(done, other) == b""


@given(st.text())
def test_printable_text_has_one_line_and_as_many_letters(text):
    made = make_printable(text)
    assert len(made) == len(text) and len(made.splitlines()) <= 1 and make_printable(made) == made
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", made)
    if text.isascii() and text.isprintable():
        assert made == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2), st.sampled_from("\t,"))
def test_a_row_is_read_back_as_it_was(cells, delimiter):
    assert next(csv.reader(io.StringIO(format_row(cells, delimiter), newline=""), delimiter=delimiter)) == cells


def test_our_signs_have_stand_ins_in_ascii():
    codecs.register_error("striate", replace_unencodable)
    assert "3×4 → 5 − 2 ≈ 3…".encode("ascii", "striate") == b"3x4 > 5 - 2 ~ 3~"
    assert all(text.isascii() for text in ASCII_SIGNS.values())
    assert "é\udce9猫".encode("ascii", "striate") == b"?\xe9?"


HOSTILE = st.sampled_from(["<!--<script>", "</script>", "<!--", "]]>", "<script", "\u2028", "&lt;", '"\\'])


@given(st.lists(HOSTILE | st.text(st.characters(exclude_categories=["Cs"])), max_size=6))
def test_inline_json_is_the_data_and_cannot_leave_its_script(texts):
    made = format_inline_json({"classes": texts})
    assert "<" not in made and json.loads(made) == {"classes": texts}


def test_the_offline_page_of_a_class_named_as_a_script_holds_its_data(tmp_path):
    """Read by Python's HTML parser, and its script elements counted as a browser counts them: no `<!--` is in one."""
    name = "<!--<script>"
    net = striate.Net((1, 8, 8), [striate.Conv(2, 3), striate.ReLU(), striate.Flatten(), striate.Dense(2)])
    tensors = {key: array.astype(np.float32) for key, array in plain.draw_tensors(net, 0).items()}
    header = ModelHeader(net=net, classes=(name, "b"), preprocess=Preprocess((8, 8), "pad", (0.5,), (0.25,)))
    save_model(tmp_path / "m.safetensors", header, tensors)
    Image.new("L", (8, 8), 9).save(tmp_path / "x.png")
    assert command("inside", "m.safetensors", "x.png", "-o", "i.html", folder=tmp_path).returncode == 0
    text = (tmp_path / "i.html").read_text(encoding="utf-8")
    assert "<!--" not in text
    [data] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert name in json.dumps(json.loads(data))


def test_every_error_is_of_as_many_lines_as_it_has_parts():
    error = StriateError(NASTY, "wrong", got=f"{NASTY}\n\n", rule="one\rtwo", hint="none")
    assert len(str(error).splitlines()) == 4 and "\x1b" not in str(error)


def test_the_version_and_the_help_of_a_command(tmp_path):
    assert command("--version", folder=tmp_path).stdout.decode() == f"striate {striate.__version__}\n"
    for name in striate_commands():
        asked = command("help", name, folder=tmp_path)
        assert asked.returncode == 0 and asked.stdout == command(name, "--help", folder=tmp_path).stdout
    assert command("help", folder=tmp_path).stdout == command("--help", folder=tmp_path).stdout
    wrong = command("help", "sumary", folder=tmp_path)
    assert wrong.returncode == 2 and "did you mean 'summary'?" in wrong.stderr.decode()


NEEDS = {
    "find-lr": "train",
    "sweep": "train",
    "train": "train",
    "a folder of one class": "train",
    "dream": "train",
    "explain": "train",
    "digits": "train",
    "train by the data": "train",
    "export to torch": "train",
    "embed by t-SNE": "train",
    "serve": "serve",
    "studio": "studio",
    "a table in Parquet": "hub",
    "a data set on the Hub": "hub",
    "weights on the Hub": "hub",
    "EfficientNet-Lite0": "lite0",
}
"""The extra that a command needs; those that are not here need none."""

MORE = {
    "digits": ("train", "digits"),
    "train by the data": ("train", "data"),
    "export to torch": ("export", "model.safetensors", "-o", "x.pt2"),
    "embed by t-SNE": ("embed", "model.safetensors", "data", "--method", "tsne", "-o", "t.png"),
    "serve": ("serve", "model.onnx", "--port", "0"),
    "studio": ("studio", "--no-browser"),
    "a table in Parquet": ("check", "x.parquet"),
    "a data set on the Hub": ("check", "hf:some/thing"),
    "weights on the Hub": ("predict", "resnet18", "x.png", "--weights", "timm/resnet18.a1_in1k"),
    "EfficientNet-Lite0": ("predict", "efficientnet_lite0", "x.png"),
}


def test_every_command_names_the_extra_that_it_needs(place, tmp_path):
    (place / "x.parquet").write_bytes(b"PAR1")
    given = {name: words(name, tmp_path) for name in COMMANDS} | MORE
    for name, done in zip(given, run_many(list(given.values()), place, without=list(EXTRAS)), strict=True):
        assert "Traceback" not in done.stderr, (name, done)
        if extra := NEEDS.get(name):
            assert done.returncode == 2 and f'hint  pip install "striate[{extra}]"' in done.stderr, (name, done)
        else:
            assert "pip install" not in done.stderr, (name, done)


def test_the_packages_of_the_extras_are_those_of_the_project():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
