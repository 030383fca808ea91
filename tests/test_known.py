"""Evaluation knows the images that the model was trained on, however they arrive."""

from __future__ import annotations

import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

import striate
from striate.data.images import Images
from striate.data.sources.load import load_dataset
from striate.engines import model_file
from striate.errors import DataError
from striate.fitting.watch import Watch
from striate.model import known as ship_known
from striate.model.known import describe_known, find_known
from tests import forked


def paint(place, seed: int) -> None:
    """A gray picture 16×16 unlike any other."""
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)).save(place)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 40 pictures, without splits."""
    place = tmp_path_factory.mktemp("known") / "photos"
    for k in range(80):
        paint(place / "ab"[k % 2] / f"{k:02}.png", k)
    return place


@pytest.fixture(scope="module")
def run(photos):
    """A run on 64 of them; 8 chose the epoch, 8 were held back."""
    return striate.train(photos, "lenet5", out=photos.parent / "run", size=16, epochs=1, batch=16, watch=Watch())


def facts(report) -> tuple[int, int | None, bool]:
    return report.images, report.known, report.left_out


def test_of_the_data_itself_the_split_that_was_held_back_is_scored_and_nothing_is_known(run, photos):
    assert facts(run.model.evaluate(photos)) == facts(run.report) == (8, 0, False)
    assert run.model.evaluate(photos) == run.report
    assert "left out" not in str(run.report) and "known" not in str(run.report)


def copied(photos, to):
    """A copy with one image more of each class."""
    shutil.copytree(photos, to)
    paint(to / "a" / "new.png", 1000)
    paint(to / "b" / "new.png", 1001)
    return to


def packed(photos, to):
    """WebDataset shards, the files in another order."""
    with tarfile.open(to, "w") as shard:
        for k, file in enumerate(sorted(photos.rglob("*.png"), key=lambda file: file.stem[::-1])):
            label = to.with_suffix(".cls")
            label.write_text(file.parent.name)
            shard.add(file, f"{k:03}.png")
            shard.add(label, f"{k:03}.cls")
    return to


def as_arrays(photos):
    data = load_dataset(photos)
    parts = [data.train, data.valid, data.test]
    x, y = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y"))
    return x, np.array(data.classes)[y]


@pytest.mark.parametrize("way", ["copy", "tar", "arrays", "split anew"])
def test_images_of_the_training_are_left_out_however_they_arrive(run, photos, tmp_path, way):
    held = load_dataset(photos).test
    if way == "copy":
        source, more = copied(photos, tmp_path / "photos"), 2
    elif way == "tar":
        source, more = packed(photos, tmp_path / "photos-000.tar"), 0
    elif way == "arrays":
        source, more = as_arrays(photos), 0
    else:  # the user's own split afterwards, another than the run's
        for k, file in enumerate(sorted(photos.rglob("*.png"))):
            to = tmp_path / ("test" if k % 4 == 0 else "train") / file.parent.name / file.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
        source, more = tmp_path, 0
    found = run.model.evaluate(source)
    if way == "split anew":
        known = [file.relative_to(tmp_path / "test").as_posix() for file in (tmp_path / "test").rglob("*.png")]
        kept = len(set(known) & set(held.files))
        assert facts(found) == (kept, len(known) - kept, True) and 0 < kept < len(known)
    else:
        assert facts(found) == (8 + more, 72, True)
        assert f"left out {found.known} that the model was trained or validated on" in " ".join(str(found).split())
    if way in ("tar", "arrays"):
        assert found.confusion == run.report.confusion and found.loss == pytest.approx(run.report.loss)


def test_other_shares_than_the_usual_leave_out_just_what_was_trained_on(photos, tmp_path):
    data = load_dataset(photos, valid_share=0.2, test_share=0.3, seed=4)
    run = striate.train(data, "lenet5", out=tmp_path / "run", size=16, epochs=1, batch=16, watch=Watch())
    assert facts(run.model.evaluate(photos)) == (24, 56, True)
    assert run.model.evaluate(photos).confusion == run.report.confusion


def test_what_was_trained_on_alone_is_refused_and_the_hint_scores_it(run, photos):
    data = load_dataset(photos)
    with pytest.raises(DataError, match="trained or validated on every one of these images") as caught:
        run.model.evaluate(data.train)
    assert "known=True" in str(caught.value.hint) and caught.value.got == "64 images"
    with pytest.raises(DataError):
        run.model.evaluate(data.valid)
    assert facts(run.model.evaluate(data.train, known=True)) == (64, 64, False)
    assert "64 of them, from training or validation: the accuracy is optimistic" in str(
        run.model.evaluate(data.train, True)
    )


def test_the_split_that_was_held_back_is_scored_whole_where_it_shares_pictures_with_training(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), np.uint8)
    x[50:52] = x[:2]
    np.savez(tmp_path / "set.npz", x_train=x[:50], y_train=np.arange(50) % 2, x_test=x[50:], y_test=np.arange(10) % 2)
    run = striate.train(tmp_path / "set.npz", "lenet5", out=tmp_path / "run", size=16, epochs=1, watch=Watch())
    assert facts(run.report) == facts(run.model.evaluate(tmp_path / "set.npz")) == (10, 2, False)
    assert facts(run.model.evaluate((x[50:], np.arange(10) % 2))) == (10, 2, False)
    assert facts(run.model.evaluate((x[50:59], np.arange(9) % 2))) == (7, 2, True)


def test_a_model_file_of_before_says_nothing_and_still_loads(run, photos, tmp_path):
    header, tensors = model_file.read_model(run.folder / "model.safetensors")
    (tmp_path / "old").mkdir()
    raw = json.loads(saved_header(run.folder / "model.safetensors"))
    assert raw.pop("known") is not None
    import safetensors.numpy

    old = safetensors.numpy.save(tensors, metadata={"striate": json.dumps(raw)})
    (tmp_path / "old" / "model.safetensors").write_bytes(old)
    model = striate.load(tmp_path / "old")
    assert model.header.known is None and facts(model.evaluate(copied(photos, tmp_path / "p"))) == (82, None, False)
    done = forked.run(["-m", "striate", "evaluate", "old", "p", "--json"], cwd=tmp_path)
    assert json.loads(done.stdout)["known"] is None
    assert done.stderr.startswith("note: the model does not record its training images")


def saved_header(path) -> str:
    import safetensors

    with safetensors.safe_open(str(path), framework="np") as file:
        return file.metadata()["striate"]


def test_the_command_says_how_many_and_known_scores_them(run, photos, tmp_path):
    source = copied(photos, tmp_path / "more")

    def evaluate(*words):
        return json.loads(
            forked.run(["-m", "striate", "evaluate", str(run.folder), str(source), "--json", *words]).stdout
        )

    found, all_of_them = evaluate(), evaluate("--known")
    assert (found["images"], found["known"], found["left_out"]) == (10, 72, True)
    assert (all_of_them["images"], all_of_them["known"], all_of_them["left_out"]) == (82, 72, False)


def test_an_exported_file_cannot_tell(run, photos, tmp_path):
    run.model.export(tmp_path / "m.onnx")
    assert facts(striate.load(tmp_path / "m.onnx").evaluate(as_arrays(photos))) == (80, None, False)


def test_the_identity_takes_eight_bytes_an_image_up_to_a_bound(run, photos, monkeypatch):
    data, known = load_dataset(photos), run.model.header.known
    assert (len(known.train), len(known.valid), known.counts) == (64 * 8, 8 * 8, (64, 8))
    assert known == describe_known(load_dataset(photos, size=(16, 16)))
    assert find_known(known, data.train).all() and not find_known(known, data.test).any()
    monkeypatch.setattr(ship_known, "KNOWN_MOST", 16)
    some = describe_known(data)
    assert (len(some.train), some.counts) == (16 * 8, (64, 8)) and find_known(some, data.train).sum() == 16


def test_only_the_pixels_count_not_names_labels_or_order(run, photos):
    data = load_dataset(photos)
    other = Images(data.train.x[::-1].copy(), 1 - data.train.y, data.classes, ("x",) * 64)
    assert find_known(run.model.header.known, other).all()
    changed = other.x.copy()
    changed[:, 0, 0, 0] ^= 1
    assert not find_known(run.model.header.known, Images(changed, other.y, data.classes, other.files)).any()


def test_a_run_that_begins_with_anothers_weights_knows_its_images_too(run, photos, tmp_path):
    for k in range(24):
        paint(tmp_path / "others" / "ab"[k % 2] / f"{k:02}.png", 500 + k)
    begun = striate.train(tmp_path / "others", "lenet5", weights=run.folder, out=tmp_path / "run", size=16, epochs=1,
                          batch=8, watch=Watch())  # fmt: skip
    data = load_dataset(photos)
    known = begun.model.header.known
    assert find_known(known, data.train).all() and find_known(known, data.valid).all()
    assert not find_known(known, data.test).any() and known.counts == (20 + 64 + 8, 2)
    assert facts(begun.model.evaluate(photos)) == (8, 72, True)
