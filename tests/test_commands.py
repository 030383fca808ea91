"""The commands that look at nets and inside trained ones, as a user types them, on a net trained on the digits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import striate
from striate.fitting.watch import Watch
from tests import forked
from tests.many_commands import run_many


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with `run`, a LeNet-5 trained on the digits, and `three.png`."""
    folder = tmp_path_factory.mktemp("place")
    striate.train("digits", "lenet5", out=folder / "run", epochs=5, watch=Watch())
    Image.fromarray((load_digits().images[3] / 16 * 255).round().astype("uint8")).save(folder / "three.png")
    return folder


def run(place: Path, *words: str, code: int = 0) -> str:
    environment = os.environ | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    done = forked.run(["-m", "striate", *words], cwd=place, env=environment)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_trace_prints_the_value_that_the_model_computes(place):
    model = striate.load(place / "run")
    given = json.loads(run(place, "trace", "run", "three.png", "--at", "probability[3]", "--json"))
    assert given["value"] == pytest.approx(model.predict(place / "three.png").probability, abs=1e-5)
    text = run(place, "trace", "run", "three.png", "--at", "dense3[3]", "--depth", "0")
    assert text.startswith("dense3[3] = ") and "image[0," in text


def test_the_update_of_a_weight_is_the_one_that_torch_makes(place):
    """The next step of torch's own AdamW, its state from the checkpoint, on this one image."""
    import torch

    from striate.engines.model_file import Preprocess
    from striate.fitting.batches import standardise_batch
    from striate.fitting.checkpoint import read_task
    from striate.fitting.recipe import Recipe
    from striate.fitting.run import Run

    loss = json.loads(run(place, "trace", "run", "three.png", "--at", "loss", "--label", "3", "--json"))
    assert loss["lead"] == "probability[3]" and loss["value"] > 0
    ways = ("--weight", "conv2[3,0,2,2]", "--label", "3", "--optimizer", "sgd,adam", "--steps", "2")
    assert run(place, "trace", "run", "three.png", *ways).count("new weight") == 4
    given = json.loads(run(place, "trace", "run", "three.png", "--weight", "conv2[3,0,2,2]", "--label", "3", "--json"))
    task = read_task(place / "run")
    assert isinstance(task.recipe, Recipe) and isinstance(task.preprocess, Preprocess)
    again = Run.resume(place / "run", task)
    model = striate.load(place / "run")
    x = torch.from_numpy(model.prepared(place / "three.png")[None])
    pre = task.preprocess
    again.network.eval()
    logits = again.network(standardise_batch(x, torch.tensor(pre.mean), torch.tensor(pre.std)))
    for group in again.optimizer.param_groups:
        group["lr"] = task.recipe.peak
    again.optimizer.zero_grad()
    torch.nn.functional.cross_entropy(logits, torch.tensor([3])).backward()
    again.optimizer.step()
    assert given["value"] == pytest.approx(again.network.state_dict()["conv2.weight"][3, 0, 2, 2].item(), abs=1e-6)


def test_the_pictures_of_every_inside_command_are_made(place):
    pictures = (
        ("filter", "three.png", "--kernel", "sobel", "-o", "f.png"),
        ("invariance", "run", "digits", "--images", "40", "--shifts", "2", "-o", "i.png"),
        ("examples", "run", "digits", "--layer", "conv1", "--channels", "0-2", "-o", "x.png"),
        ("dream", "run", "--layer", "conv2", "--channels", "0", "--steps", "8", "-o", "d.png"),
        ("ablate", "run", "digits", "--layer", "conv1", "-o", "l.png"),
        ("embed", "run", "digits", "-o", "e.png"),
    )
    pages = [(command, "run", "three.png", "-o", f"{command}.html") for command in ("explain", "inside")]
    for done in run_many([*pictures, *pages], place):
        assert done.returncode == 0, done.stderr
    for words in pictures:
        picture = np.asarray(Image.open(place / words[-1]).convert("RGB"))
        assert picture.size and picture.std() > 1, words
    for words in pages:
        assert "<html" in (place / words[-1]).read_text()


def test_compare_draw_and_what_if_say_what_the_library_says(place):
    from striate.summaries.compare import compare_nets
    from striate.summaries.draw import draw_net
    from striate.summaries.whatif import suggest_changes

    a, b = striate.nets.lenet5(), striate.nets.striate_s()
    assert run(place, "compare", "lenet5", "striate_s").rstrip("\n") == str(compare_nets(a, b)).rstrip("\n")
    run(place, "draw", "lenet5", "-o", "net.svg")
    assert (place / "net.svg").read_text() == draw_net(a)
    found = json.loads(run(place, "summary", "lenet5", "--what-if", "--format", "json"))
    assert found == json.loads(json.dumps([w.as_dict() for w in suggest_changes(a)]))


def test_check_finds_what_is_wrong_in_every_format(place):
    for label, level in (("dark", 20), ("light", 220)):
        (place / "photos" / label).mkdir(parents=True, exist_ok=True)
        for i in range(12):
            x = np.random.default_rng(i + level).integers(0, 30, (40, 40, 3), dtype=np.uint8) + np.uint8(level)
            Image.fromarray(x).save(place / "photos" / label / f"{i}.png")
    (place / "photos" / "dark" / "broken.jpg").write_text("no picture")
    assert "broken.jpg" in run(place, "check", "photos")
    assert json.loads(run(place, "check", "photos", "--format", "json"))["images"] == 24
    assert run(place, "check", "photos", "--format", "html").startswith("<!doctype html>")
    run(place, "check", "photos", "--strict", code=1)


def test_check_with_a_run_finds_labels_that_were_exchanged(place):
    wrong = place / "wrong"
    digits = load_digits()
    for i, (picture, label) in enumerate(zip(digits.images[:400], digits.target[:400], strict=True)):
        if label in (0, 1):
            given = 1 - label if i in (0, 1, 10, 11) else label
            folder = wrong / str(given)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture / 16 * 255).astype("uint8")).save(folder / f"{i}.png")
    striate.train(wrong, "lenet5", out=place / "two", size=16, epochs=6, batch=16, watch=Watch())
    found = json.loads(run(place, "check", "wrong", "--run", "two", "--format", "json"))["label_errors"]
    stems = {Path(item["file"]).stem for item in found}
    assert stems <= {"0", "1", "10", "11"} and len(stems) >= 3, "three of the four at least, and no right label"


def test_export_compares_and_the_file_holds_no_path(place):
    done = run(place, "export", "run", "-o", "m.onnx", "--data", "digits", "--json")
    columns = json.loads(done)["parity"]["sized"]["columns"]
    assert [column["name"] for column in columns] == ["torch", "onnx float32"]
    assert columns[1]["equal"] == 1.0 and columns[1]["difference"] < 1e-4
    assert str(place).encode() not in (place / "m.onnx").read_bytes()


@pytest.mark.parametrize(
    "words, beginning",
    [
        (("trace", "run", "three.png"), "error: trace: name one number"),
        (("trace", "run", "three.png", "--at", "conv9[0,0,0]"), "error: conv9: lenet5 has no layer of this name"),
        (("trace", "run", "three.png", "--at", "conv1[99,0,0]"), "error: conv1"),
        (
            ("trace", "run", "three.png", "--weight", "conv1[0,0,0,0]", "--label", "x"),
            "error: label: the model has no such class",
        ),
        (("export", "run", "-o", "m.onnx", "--int8"), "error: export: int8 needs images"),
        (("filter", "three.png", "--kernel", "sobell"), "error: "),
        (("predict", "resnet18", "three.png"), "error: resnet18: this is a net without weights"),
    ],
)
def test_wrong_words_are_refused(place, words, beginning):
    assert run(place, *words, code=2).startswith(beginning)
