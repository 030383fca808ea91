"""The command line on good and on bad input, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer.main
from PIL import Image

import striate
from striate.cli import app
from striate.fitting.recipe import Recipe, read_recipe
from striate.fitting.watch import Watch
from striate.runs.options import Options
from striate.setting import list_settings
from tests import forked
from tests.many_commands import run_many


def run(*words: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess:
    environment = os.environ | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    if not stdin:
        return forked.run(["-m", "striate", *words], cwd=folder, env=environment)
    program = [sys.executable, "-m", "striate", *words]
    return subprocess.run(program, cwd=folder, input=stdin, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Two classes of small colour pictures, red and blue ones."""
    folder = tmp_path_factory.mktemp("work") / "photos"
    draw = np.random.default_rng(0)
    for label, channel in (("red", 0), ("blue", 2)):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            x = draw.integers(0, 90, (20, 24, 3), dtype=np.uint8)
            x[..., channel] += 150
            Image.fromarray(x).save(folder / label / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def trained(photos) -> Path:
    """A run on the photos, in their parent folder under runs/photos."""
    striate.train(photos, "lenet5", out=photos.parent / "runs" / "photos", size=16, epochs=6, watch=Watch())
    return photos.parent


def test_the_summary_is_the_librarys_in_every_format(tmp_path):
    expected = striate.summary(striate.nets.lenet5(input=(3, 32, 32)))
    words = ("summary", "lenet5", "--input", "3x32x32")
    assert json.loads(run(*words, "--format", "json", folder=tmp_path).stdout) == json.loads(
        json.dumps(expected.as_dict())
    )
    table = run(*words, folder=tmp_path).stdout
    for text in ("(5·5·3 + 1)·6 = 456", "(32 + 2·0 − 5)/1 + 1 = 28", "62,006", "651,720"):
        assert text in table
    assert "| conv1" in run(*words, "--format", "markdown", folder=tmp_path).stdout
    text = run(*words, "--format", "net", folder=tmp_path).stdout
    assert striate.parse(text) == expected.net
    (tmp_path / "mine.txt").write_text(text)
    assert run("summary", "mine.txt", folder=tmp_path).stdout.splitlines()[2:] == table.splitlines()[2:]


def test_a_run_is_evaluated_and_predicts(trained):
    done = run("evaluate", "runs/photos", "photos", "--json", folder=trained)
    report = json.loads(done.stdout)
    assert report["accuracy"] == 1.0 and report["classes"] == ["blue", "red"]
    names = "accuracy accuracy_interval top5 macro_f1 ece confusion classes per_class".split()
    assert set(names) <= set(report)
    assert sum(map(sum, report["confusion"])) == 4, "only the images that training held back"
    done = run("predict", "runs/photos", "photos/red/0.png", folder=trained)
    assert done.stdout.startswith("photos/red/0.png\tred\t") and done.returncode == 0


def test_predict_takes_folders_and_names_on_stdin_and_skips_what_is_no_image(trained):
    (trained / "mixed").mkdir(exist_ok=True)
    Image.new("RGB", (30, 20), (10, 20, 250)).save(trained / "mixed" / "a.jpg")
    (trained / "mixed" / "b.jpg").write_text("no image")
    whole = (trained / "mixed" / "a.jpg").read_bytes()
    (trained / "mixed" / "c.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    done = run("predict", "runs/photos", "mixed", "--json", "--top", "1", folder=trained)
    [line] = done.stdout.splitlines()
    assert json.loads(line)["label"] == "blue" and len(json.loads(line)["top"]) == 1
    assert done.returncode == 1
    assert [text.split(":")[0] for text in done.stderr.splitlines()] == ["skipped mixed/b.jpg", "skipped mixed/c.jpg"]
    listed = run("predict", "runs/photos", "-", folder=trained, stdin="mixed/a.jpg\n")
    assert listed.stdout.split("\t")[:2] == ["mixed/a.jpg", "blue"] and listed.returncode == 0


def bad(folder: Path) -> dict[str, tuple[tuple[str, ...], str]]:
    """Words that are wrong, and the beginning of what is said of them."""
    (folder / "empty").mkdir()
    (folder / "one" / "cat").mkdir(parents=True)
    for i in range(4):
        Image.new("L", (8, 8), i).save(folder / "one" / "cat" / f"{i}.png")
    (folder / "cut" / "a").mkdir(parents=True)
    (folder / "cut" / "b").mkdir()
    for name in "ab":
        (folder / "cut" / name / "x.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (folder / "file").write_text("")
    (folder / "broken.safetensors").write_bytes(b"\x07" * 30)
    (folder / "wrong.txt").write_text("Net(input=(1, 8, 8), layers=[Conv(4, kernal=3)])")
    ten = "Net(input=(1, 8, 8), layers=[Flatten(), Dense(7)])"
    small = "Net(input=(1, 4, 4), layers=[Conv(4, 5), Flatten(), Dense(10)])"
    return {
        "an unknown net": (("summary", "lenet6"), "error: lenet6: no zoo net and no file has this name"),
        "a net's text": (("summary", "wrong.txt"), "error: wrong.txt: line 1: Conv has no field 'kernal'"),
        "an input": (("summary", "lenet5", "--input", "32"), "error: --input: an input is channels x height x width"),
        "a net that does not fit": (("summary", "lenet5", "--input", "3x9x9"), "error: conv2 (Conv(16, 5"),
        "no such data": (("train", "photoz"), "error: photoz: there is no such folder, file or data set"),
        "an empty folder": (("train", "empty"), "error: empty: there is no image in this folder"),
        "one class only": (("train", "one"), "error: one: "),
        "only broken images": (("train", "cut"), "error: cut: none of its images can be read"),
        "a wrong number of classes": (("train", "digits", "--net", ten), "error: net: the net has 7"),
        "a net too small": (
            ("train", "digits", "--net", small),
            "error: conv1 (Conv(4, 5)): a 5×5 window does not fit",
        ),
        "a wrong setting": (("train", "digits", "--epochs", "0"), "error: recipe.epochs: epochs must be at least 1"),
        "an unknown optimizer": (
            ("train", "digits", "--optimizer", "adan"),
            "error: recipe.optimizer: there is no optimizer 'adan'",
        ),
        "an unwritable folder": (("train", "digits", "--out", "file/x"), "error: file/x: cannot write into"),
        "nothing to resume": (("train", "digits", "--resume"), "error: runs: there is no run of digits here"),
        "a broken model": (
            ("predict", "broken.safetensors", "x.png"),
            "error: broken.safetensors: this is not a readable",
        ),
        "no run": (("evaluate", "nowhere", "digits"), "error: nowhere: there is no such file"),
        "a folder without images": (("predict", "nowhere", "empty"), "error: "),
    }


def test_bad_input_is_an_error_that_says_where_and_exits_with_2(tmp_path):
    asked = bad(tmp_path)
    ended = run_many([words for words, _ in asked.values()], tmp_path)
    for (what, (_, beginning)), done in zip(asked.items(), ended, strict=True):
        assert done.returncode == 2, (what, done)
        assert done.stderr.startswith(beginning), (what, done.stderr)
        assert done.stdout == "" and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_usage_error_exits_with_2_and_help_with_0(tmp_path):
    assert run("train", folder=tmp_path).returncode == 2
    assert run("nonsense", folder=tmp_path).returncode == 2
    assert run("--help", folder=tmp_path).returncode == 0
    assert run("train", "--help", folder=tmp_path).returncode == 0


def test_the_reader_of_the_output_may_go_away(tmp_path):
    command = f"{sys.executable} -m striate summary resnet152 | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("resnet152") and done.stderr == ""


def commands() -> dict[str, Any]:
    """Each command by name, as click has them (typer's own copy of it)."""
    return typer.main.get_command(app).commands


def test_every_option_shows_its_default():
    for name, command in commands().items():
        for option in command.params:
            if option.param_type_name == "option" and not (option.is_flag or option.required):
                shown = option.default is not None or "[default: " in (option.help or "")
                assert shown, (name, option.name)


def test_the_list_of_commands_says_each_in_a_whole_sentence(tmp_path):
    listed = run("--help", folder=tmp_path).stdout.split("Commands:")[1].splitlines()[1:]
    assert len(listed) == len(commands())
    for line in listed:
        assert line.endswith(".") and not line.endswith("...") and len(line) <= 80, line


def test_an_option_for_each_setting_says_what_the_record_says():
    """Of the recipe and of the training: the name, the help and the default are read from the record."""
    options = {option.name: option for option in commands()["train"].params}
    for setting in (*list_settings(Options), *list_settings(Recipe)):
        option = options[setting.name]
        assert option.help.startswith(setting.setting.help) and all(choice in option.help for choice in setting.choices)
        assert option.default is None, "what is not given is the preset's, or that of the run to resume"
    shown = run("train", "--help", folder=Path.cwd()).stdout
    for words in ("Momentum coefficient  [default: 0.9]", "Warm-up fraction  [default: 0.2]", "Label smoothing"):
        assert words in shown


def test_an_old_name_still_works_and_says_the_new_one(tmp_path):
    done = run("lesion", "--help", folder=tmp_path)
    assert done.returncode == 0 and "ablate" in done.stderr and "striate ablate" in done.stdout
    done = run("train", "digits", "--augment", "upend+quarter", "--epochs", "0", folder=tmp_path)
    assert done.stderr.startswith("note: augment=upend+quarter is now called vflip+rot90")
    with pytest.warns(FutureWarning, match="alternating-flip"):
        assert read_recipe(augment="alternate").augment == "alternating-flip"
    assert msgspec.convert({"augment": "trivial"}, Recipe).augment == "trivialaugment", "as old files have it"
