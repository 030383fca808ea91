"""A run goes on as it began or not at all: what is refused changes nothing, what has changed is said, hints work."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.cli import app
from striate.data.contents import Contents, describe_differences
from striate.engines import model_file, plain
from striate.errors import RecipeError, RunError
from striate.fitting.watch import Watch
from striate.threads import list_stop_signals

NET = "Net((3, 8, 8), [Conv(4, 3), ReLU(), MaxPool(2), Flatten(), Dense({classes})])"
BACKBONE = (
    "Net((3, 8, 8), [Conv(8, 3, padding='same'), BatchNorm(), ReLU(), MaxPool(2), Conv(8, 3), BatchNorm(), ReLU(), "
    "GlobalAvgPool(), Dense(7)])"
)


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """40 pictures of noise in two classes."""
    place = tmp_path_factory.mktemp("resuming") / "photos"
    for k in range(40):
        picture(place / ["cat", "dog"][k % 2] / f"{k:02}.png", k)
    return place


@pytest.fixture(scope="module")
def transferred(photos, tmp_path_factory) -> Path:
    """A transfer that is done, from a small backbone with drawn weights."""
    place = tmp_path_factory.mktemp("transfer")
    net = striate.architecture.find.find_net(BACKBONE)
    prepared = model_file.Preprocess((8, 8), "pad", (0.5, 0.4, 0.3), (0.25, 0.25, 0.25))
    header = model_file.ModelHeader(net=net, classes=tuple("abcdefg"), preprocess=prepared)
    tensors = {name: value.astype(np.float32) for name, value in plain.draw_tensors(net, 0).items()}
    model_file.save_model(place / "backbone.safetensors", header, tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        made = striate.train(
            photos,
            BACKBONE,
            preset="transfer",
            weights=place / "backbone.safetensors",
            out=place / "run",
            watch=Watch(),
        )
        yield made.folder


@pytest.fixture(scope="module")
def scratch(photos, tmp_path_factory) -> Path:
    """A run from scratch that is done."""
    folder = tmp_path_factory.mktemp("scratch") / "run"
    made = striate.train(
        photos, NET.format(classes=2), out=folder, epochs=2, batch=16, seed=3, augment="auto", lr=0.01, watch=Watch()
    )
    return made.folder


def copied(folder: Path, to: Path) -> Path:
    """A copy of a run, as it stood before its report was written."""
    shutil.copytree(folder, to)
    (to / "report.json").unlink()
    return to


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def going_on(data: Path, folder: Path, **given) -> striate.fitting.run.Run:
    return striate.train(data, out=folder, resume=True, watch=Watch(), **given)


# Arguments


@pytest.mark.parametrize(
    "given, began",
    [
        ({"seed": 5}, "3"),
        ({"lr": 0.1}, "0.01"),
        ({"preset": "best"}, "none"),
        ({"minutes": 1.0}, "none"),
        ({"size": 16}, "[8, 8]"),
        ({"net": "lenet5"}, NET.format(classes=2)),
        ({"fit": "crop"}, "pad"),
        ({"weights": "other.pth"}, "none"),
        ({"label_smoothing": 0.1}, "0.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_argument_that_contradicts_the_beginning_is_refused_and_changes_nothing(
    given, began, photos, scratch, tmp_path
):
    folder, [(name, value)] = copied(scratch, tmp_path / "run"), given.items()
    (folder / ".left.part").write_text("by a kill")
    before = snapshot(folder)
    with pytest.raises(RunError) as refused:
        going_on(photos, folder, **given)
    assert str(refused.value) == (
        f"--{name.replace('_', '-')}: a run is resumed with what it began with\n  got   {value}\n"
        f"  rule  {folder} began with {began}\n  hint  leave it out to resume as it began; or striate train {photos} "
        f"--weights {folder} starts a new run from this one's weights"
    )
    assert snapshot(folder) == before
    assert going_on(photos, folder).done, "and the plain --resume works afterwards"
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("given", [{"seed": 5}, {"preset": "best"}, {"minutes": 1.0}, {"size": 16}, {"net": "lenet5"},
                                   {"views": "flip"}, {"epochs": 3}], ids=str)  # fmt: skip
def test_the_same_holds_for_a_transfer(given, photos, transferred, tmp_path):
    folder = copied(transferred, tmp_path / "run")
    before = snapshot(folder)
    with pytest.raises(RunError, match="a run is resumed with what it began with"):
        going_on(photos, folder, **given)
    assert snapshot(folder) == before
    going_on(photos, folder)
    assert (folder / "model.safetensors").read_bytes() == (transferred / "model.safetensors").read_bytes()


def test_the_command_that_a_run_began_with_goes_on_with_it(photos, scratch, transferred, tmp_path):
    """As a cluster does that starts a job again: the same words, and --resume."""
    words = {"net": NET.format(classes=2), "epochs": 2, "batch": 16, "seed": 3, "augment": "auto", "lr": 0.01}
    assert going_on(photos, copied(scratch, tmp_path / "scratch"), **words, memory="1G").done
    weights = transferred.parent / "backbone.safetensors"
    again = going_on(photos, copied(transferred, tmp_path / "t"), net=BACKBONE, preset="transfer", weights=weights)
    assert again.split == "cross-validation"


def test_a_presets_words_are_those_it_was_given_or_settled(tmp_path):
    words = {"preset": "fast", "net": "lenet5", "size": 16, "epochs": 1, "batch": 512}
    striate.train("digits", out=tmp_path / "run", watch=Watch(), **words)
    settled = json.loads((tmp_path / "run" / "recipe.json").read_text())
    (tmp_path / "run" / "report.json").unlink()
    for again in (words, {"optimizer": settled["recipe"]["optimizer"], "preset": "fast"}):
        assert going_on("digits", tmp_path / "run", **again).done


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan")])
def test_no_minutes_are_refused(minutes, photos, tmp_path):
    with pytest.raises(RecipeError, match="minutes must be above 0"):
        striate.train(photos, minutes=minutes, out=tmp_path / "run", watch=Watch())
    assert not list(tmp_path.iterdir())


# Images


def test_what_has_changed_in_the_images_is_said_and_the_hint_trains_on_them(
    photos, scratch, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "photos")
    folder = copied(scratch, tmp_path / "run")
    settings = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps(settings | {"data": "photos"}))
    for k in range(100, 112):
        picture(Path("photos/wolf") / f"{k}.png", k)
    for k in (0, 2, 4):
        Path(f"photos/cat/{k:02}.png").unlink()
    picture(Path("photos/dog/01.png"), 201), picture(Path("photos/dog/03.png"), 203)
    before = snapshot(folder)
    with pytest.raises(RunError) as refused:
        going_on(Path("photos"), folder)
    assert str(refused.value) == (
        f"{folder}: the images are not the ones that this run began with\n"
        "  got   12 images more, class wolf new, 3 removed, 2 replaced\n"
        f"  hint  striate train photos --weights {folder} starts a new run from this one's weights"
    )
    assert snapshot(folder) == before
    words = shlex.split(refused.value.hint.split(" starts")[0])
    app([*words[1:], "--epochs", "1"], standalone_mode=False)
    assert f"starts from the weights of {folder}, its classifier new for wolf" in capsys.readouterr().err
    assert striate.load("runs/photos-1").classes == ("cat", "dog", "wolf")


def test_a_transfers_images_likewise(photos, transferred, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "cat" / "00.png").rename(tmp_path / "photos" / "dog" / "00.png")
    before = snapshot(transferred)
    with pytest.raises(RunError, match="1 relabelled") as refused:
        going_on(tmp_path / "photos", transferred)
    assert refused.value.hint.startswith(f"striate train {photos} starts a new run;")
    assert snapshot(transferred) == before


def test_of_a_run_of_version_0_1_0_only_the_classes_are_known(photos, scratch, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    folder = copied(scratch, tmp_path / "run")
    (folder / "checkpoint" / "images.safetensors").unlink()
    picture(tmp_path / "photos" / "cat" / "new.png", 300)
    with pytest.raises(RunError, match="other images"):
        going_on(tmp_path / "photos", folder)
    picture(tmp_path / "photos" / "wolf" / "a.png", 301), picture(tmp_path / "photos" / "wolf" / "b.png", 302)
    with pytest.raises(RunError, match="class wolf new"):
        going_on(tmp_path / "photos", folder)


Shelf = st.dictionaries(st.integers(0, 12), st.tuples(st.integers(0, 12), st.sampled_from("ab")), max_size=10)


def held(shelf: dict[int, tuple[int, str]]) -> Contents:
    names, pixels = np.array(list(shelf), np.uint64), np.array([p for p, _ in shelf.values()], np.uint64)
    return Contents(("a", "b"), pixels, names, np.array(["ab".index(y) for _, y in shelf.values()], np.int32))


@given(Shelf, st.permutations(range(13)))
def test_the_same_images_under_other_names_and_in_another_order_have_not_changed(shelf, names):
    again = {names[name]: image for name, image in reversed(shelf.items())}
    assert describe_differences(held(shelf), held(again)) == ""


@given(Shelf, Shelf)
def test_what_came_less_what_went_is_how_much_larger_a_data_set_is(before, now):
    words = describe_differences(held(before), held(now)).split(", ")
    count = {word.split(" ", 1)[1]: int(word.split()[0]) for word in words if word}
    more = count.get("images more", 0) + count.get("image more", 0)
    assert len(now) - len(before) == more - count.get("removed", 0)
    assert (words == [""]) == (sorted(before.values()) == sorted(now.values()))


# A run that is finished, or has hardly begun


@pytest.mark.parametrize("kind", ["scratch", "transferred"])
def test_a_finished_run_says_how_to_train_it_further(kind, photos, request, tmp_path):
    class Told(Watch):
        lines: list[str] = []

        def plan(self, lines):
            self.lines.extend(lines)

    folder = tmp_path / "run"
    shutil.copytree(request.getfixturevalue(kind), folder)
    model = (folder / "model.safetensors").read_bytes()
    striate.train(photos, out=folder, resume=True, watch=(told := Told()))
    what = f" --weights {folder}" if kind == "scratch" else " starts a new run; features"
    said = f"this run is finished; to train it further, or on more images: striate train {photos}{what}"
    assert sum(line.startswith(said) for line in told.lines) == 1
    assert (folder / "model.safetensors").read_bytes() == model


@pytest.mark.parametrize("kind", ["scratch", "transferred"])
def test_a_run_killed_before_its_first_checkpoint_begins_again(kind, photos, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = request.getfixturevalue(kind)
    Path("runs/photos-1").mkdir(parents=True)
    shutil.copy(whole / "recipe.json", "runs/photos-1")
    Path("runs/photos-1/.metrics.jsonl.part").touch()
    run = striate.train(photos, resume=True, watch=Watch())
    assert run.folder == Path("runs/photos-1")
    assert (run.folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (run.folder / "checkpoint" / "images.safetensors").is_file() and not list(run.folder.rglob("*.part"))


def test_a_run_from_anothers_weights_for_other_classes_begins_again_without_a_checkpoint(photos, scratch, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    for k in range(8):
        picture(tmp_path / "photos" / "wolf" / f"{k}.png", 500 + k)
    whole = striate.train(tmp_path / "photos", weights=scratch, out=tmp_path / "whole", watch=Watch())
    (tmp_path / "half").mkdir()
    shutil.copy(whole.folder / "recipe.json", tmp_path / "half")
    run = going_on(tmp_path / "photos", tmp_path / "half")
    assert (run.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()


def test_a_checkpoint_goes_on_without_the_weights_that_it_began_with(photos, scratch, tmp_path):
    begun = copied(scratch, tmp_path / "begun")
    run = striate.train(photos, weights=begun, out=tmp_path / "run", epochs=1, watch=Watch())
    shutil.rmtree(begun)
    assert going_on(photos, run.folder).done


def test_the_run_to_go_on_with_is_this_datas_newest_unfinished_one(photos, scratch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, age in (("photos-1", 50), ("photos-2", 40), ("photos-3", 30), ("photos-big-1", 10)):
        folder = copied(scratch, Path("runs") / place)
        os.utime(folder / "checkpoint" / "last.safetensors", (2e9 - age, 2e9 - age))
    (Path("runs/photos-3") / "report.json").write_text("{}")
    assert going_on(photos, None).folder == Path("runs/photos-2")


# A run's weights


def test_weights_of_a_run_are_its_net_its_preparation_and_its_recipe(photos, scratch, tmp_path):
    begun, run = striate.load(scratch), striate.train(
        photos, weights=scratch, out=tmp_path / "run", lr=1e-12, optimizer="sgd", epochs=1, watch=Watch()
    )  # fmt: skip
    assert run.task.preprocess == begun.preprocess and run.task.net == begun.net
    assert (run.recipe.batch, run.recipe.seed, run.recipe.lr) == (16, 3, 1e-12)
    for name, tensor in begun.tensors.items():
        np.testing.assert_allclose(run.model.tensors[name], tensor, atol=1e-9)


def test_a_class_that_is_still_there_keeps_its_row_of_the_classifier(photos, scratch, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    for k in range(8):
        picture(tmp_path / "photos" / "beaver" / f"{k}.png", 400 + k)
    begun, run = striate.load(scratch), striate.train(
        tmp_path / "photos", weights=scratch, out=tmp_path / "run", lr=1e-12, optimizer="sgd", epochs=1, watch=Watch()
    )  # fmt: skip
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    now, then = run.model.probabilities(x)[:, 1:], begun.probabilities(x)
    assert run.model.classes == ("beaver", "cat", "dog")
    np.testing.assert_allclose(now / now.sum(1, keepdims=True), then, rtol=1e-4)


# Folders

CLAIMS = """
import os, sys
from striate.runs.folders import claim_folder
go, ready = os.pipe()
for k in range(10):
    if os.fork() == 0:
        os.close(ready)
        os.read(go, 1)  # until all are there
        with claim_folder("photos", None, False) as folder:
            os.write(1, f"{folder.as_posix()}\\n".encode())
        os._exit(0)
os.close(ready)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
def test_of_many_processes_at_once_each_gets_a_folder_of_its_own(tmp_path):
    done = subprocess.run([sys.executable, "-c", CLAIMS], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.split()) == sorted(f"runs/photos-{k}" for k in range(1, 11)), done.stderr


HELD = """
import sys
from pathlib import Path
from striate.runs.folders import claim_folder
with claim_folder("photos", "run", False):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_one_process_alones_until_it_ends_or_is_killed(photos, tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(RunError, match="run: another process is training in this folder"):
            striate.train(photos, NET.format(classes=2), out="run", epochs=1, watch=Watch())
        other.kill()
    assert striate.train(photos, NET.format(classes=2), out="run", epochs=1, watch=Watch()).done


# Signals


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system closes no terminals so")
def test_under_nohup_a_closed_terminal_is_ignored():
    was = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in list_stop_signals()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in list_stop_signals()
    finally:
        signal.signal(signal.SIGHUP, was)
