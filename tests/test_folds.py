"""Cross-validation: folds that measure honestly, each a run of its own, and one summary of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, log_loss

import striate
from striate.data.images import Dataset
from striate.data.reading import make_reading
from striate.data.sources.fold_sources import load_fold
from striate.data.sources.folds import draw_folds
from striate.data.sources.load import load_dataset
from striate.errors import DataError, ModelError, RecipeError, RunError, StriateError
from striate.fitting.ranks import Ranks
from striate.fitting.watch import Watch
from striate.metrics.classification import compute_wilson
from striate.metrics.cross_validation import CrossValidation
from striate.model.exported import read_fold
from striate.model.out_of_fold import read_out_of_fold
from striate.run_files import RunFiles
from striate.runs.cross_validation import check_folds, find_fold_count
from striate.runs.options import Options
from striate.studio.answers import Studio
from striate.studio.jobs import TrainingJobs
from striate.studio.runs import list_run_folders
from striate.summaries.summary import summarise_net
from tests import forked
from tests.archives import pack
from tests.test_killed import picture
from tests.test_resuming import BACKBONE, transferred  # noqa: F401
from tests.test_resuming import photos as noise_photos  # noqa: F401
from tests.test_splits import photo, save, stem

NET = "Net((3, 12, 12), [Conv(4, 3), ReLU(), MaxPool(2), Flatten(), Dense(2)])"
SETTINGS = {"epochs": 2, "batch": 8, "seed": 4, "augment": "flip+mixup"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """40 pictures of two classes that can be told apart."""
    place = tmp_path_factory.mktemp("folds") / "photos"
    for k in range(40):
        (place / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        (place / "ab"[k % 2] / f"{k}.png").write_bytes(picture(k))
    return place


class Told(Watch):
    def __init__(self):
        self.lines: list[str] = []

    def plan(self, lines):
        self.lines += lines


def cross(data, out, watch=None, **given) -> CrossValidation:
    return striate.train(data, NET, out=out, watch=watch or Watch(), **(SETTINGS | given))


@pytest.fixture(scope="module")
def crossed(photos, tmp_path_factory) -> tuple[CrossValidation, list[str]]:
    told = Told()
    return cross(photos, tmp_path_factory.mktemp("crossed") / "run", told, folds=4), told.lines


def list_folds(source, count, **given):
    held = {}
    return [load_fold(source, number, count, held=held, **given) for number in range(1, count + 1)]


# The folds


labelled = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), min_size=2, max_size=120)


@settings(deadline=None)
@given(labelled, st.integers(2, 6), st.integers(0, 9))
def test_each_image_is_in_one_fold_and_no_group_in_two(rows, count, seed):
    y, groups = np.array([label for label, _ in rows]), np.array([group for _, group in rows])
    numbers = draw_folds(y, count, seed, groups)
    assert set(numbers) <= set(range(1, count + 1)) and len(numbers) == len(y)
    for group in set(groups.tolist()):
        assert len(set(numbers[groups == group])) == 1
    np.testing.assert_array_equal(draw_folds(y, count, seed, groups), numbers)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=120), st.integers(2, 6), st.integers(0, 9))
def test_folds_without_groups_differ_by_one_image_in_all_and_in_each_class(labels, count, seed):
    y = np.array(labels)
    numbers = draw_folds(y, count, seed, np.arange(len(y)))
    for of in (y >= 0, *(y == label for label in set(labels))):
        sizes = np.bincount(numbers[of], minlength=count + 1)[1:]
        assert sizes.max() - sizes.min() <= 1


def test_groups_of_four_leave_the_classes_even():
    groups = np.repeat(np.arange(40), 4)
    y = groups % 2
    numbers = draw_folds(y, 5, 0, groups)
    for label in (0, 1):
        assert np.bincount(numbers[y == label])[1:].tolist() == [16] * 5


def test_the_folds_are_each_once_the_test_split_and_the_validation_is_of_the_rest(photos):
    folds = list_folds(photos, 5)
    files = [set(fold.test.files) for fold in folds]
    assert sorted(file for some in files for file in some) == sorted(f"{'ab'[k % 2]}/{k}.png" for k in range(40))
    for fold in folds:
        assert (len(fold.train), len(fold.valid), len(fold.test)) == (28, 4, 8)
        parts = [set(part.files) for part in (fold.train, fold.valid, fold.test)]
        assert len(set.union(*parts)) == 40
        assert fold.test.counts == (4, 4) and fold.valid.counts == (2, 2)


def test_ten_folds_have_the_shares_of_the_usual_split(photos):
    usual = load_dataset(photos)
    assert all(len(fold.train) == len(usual.train) == 32 for fold in list_folds(photos, 10))


def test_copies_and_named_groups_never_stand_on_two_sides(tmp_path):
    for k in range(24):
        for copy in range(3):
            save(photo(k), tmp_path / "copies" / "ab"[k % 2] / f"{k}~{copy}.png")
        save(photo(100 + k), tmp_path / "named" / "ab"[k % 2] / f"p{k // 4}~{k}.png")
    for fold in [
        *list_folds(tmp_path / "copies", 3),
        *list_folds(tmp_path / "named", 3, reading=make_reading({"group": "p[0-9]+"})),
    ]:
        sides = [{stem(file) for file in part.files} for part in (fold.train, fold.valid, fold.test)]
        assert len(set.union(*sides)) == sum(map(len, sides))


def test_a_test_split_of_the_sources_own_is_in_no_fold_and_a_valid_split_validates_each(tmp_path):
    for k in range(48):
        split = ("train", "train", "valid", "test")[k // 2 % 4]
        save(photo(k), tmp_path / split / "ab"[k % 2] / f"{k}.png")
    folds = list_folds(tmp_path, 3)
    tested = [file for fold in folds for file in fold.test.files]
    assert sorted(tested) == sorted(load_dataset(tmp_path).train.files)
    for fold in folds:
        assert sorted(fold.valid.files) == sorted(load_dataset(tmp_path).valid.files)
        assert "the source's own test split, 12 images, is in no fold and stays untouched" in fold.notes
        assert "the source's own valid split, 12 images, validates each fold" in fold.notes


def write_folds(folder: Path) -> Path:
    """A table of 24 pictures with a column fold of three."""
    rows = ["file,label,fold"]
    for k in range(24):
        save(photo(k), folder / f"{k}.png")
        rows.append(f"{k}.png,{'ab'[k % 2]},{(9, 10, 2)[k // 8]}")
    (folder / "t.csv").write_text("\n".join(rows))
    return folder / "t.csv"


def test_the_column_fold_of_a_table_says_the_folds(tmp_path):
    folds = list_folds(write_folds(tmp_path), 3)
    assert [sorted(int(Path(file).stem) for file in fold.test.files) for fold in folds] == [
        list(range(16, 24)), list(range(8)), list(range(8, 16)),
    ]  # fmt: skip
    assert "the source's own 3 folds: 2, 9, 10" in folds[0].notes


def test_folders_that_are_folds_are_the_folds(tmp_path):
    for k in range(24):
        save(photo(k), tmp_path / f"fold{k // 6 + 1}" / "ab"[k % 2] / f"{k}.png")
    for number, fold in enumerate(list_folds(tmp_path, 4), 1):
        assert {file.split("/")[0] for file in fold.test.files} == {f"fold{number}"}
        assert len(fold.train) + len(fold.valid) == 18 and len(fold.valid) < 6, "validation is drawn from all the rest"
    save(photo(0), tmp_path / "fold2" / "a" / "again.png")
    noted = list_folds(tmp_path, 4)[0].notes
    assert "2 images have a copy, a near duplicate or another of the same group in another of these folds" in noted


def test_another_count_than_that_of_the_sources_own_folds_is_refused(tmp_path):
    table = write_folds(tmp_path)
    with pytest.raises(DataError) as refused:
        list_folds(table, 5)
    assert "the source has 3 folds of its own" in str(refused.value) and refused.value.hint == "--folds 3 takes them"
    table.write_text(table.read_text().replace(",10", ","))
    with pytest.raises(DataError, match="8 images of 24 have no fold, and the others have one"):
        list_folds(table, 3)


def test_more_folds_than_a_class_has_images_or_groups_are_refused_and_the_hint_works(tmp_path):
    for k in range(23):
        save(photo(k), tmp_path / "ab"[k > 18] / f"p{k // 2}~{k}.png")
    with pytest.raises(DataError) as refused:
        list_folds(tmp_path, 5)
    assert str(refused.value).splitlines()[1:] == ["  got   4 images", "  rule  5 images a class, one for each fold",
                                                   "  hint  --folds 4"]  # fmt: skip
    assert len(list_folds(tmp_path, 4)) == 4
    with pytest.raises(DataError) as refused:
        list_folds(tmp_path, 4, reading=make_reading({"group": "p[0-9]+"}))
    assert refused.value.got == "3 groups of images" and refused.value.hint == "--folds 3"


@pytest.mark.parametrize("level", ["mapped", "streamed"])
def test_the_folds_are_the_same_wherever_the_pixels_are(photos, tmp_path, monkeypatch, level):
    monkeypatch.setattr("striate.data.store.cache.platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "c"))
    marks = [[fold.fingerprint for fold in list_folds(photos, 3, **given)] for given in ({}, {"level": level})]
    assert marks[0] == marks[1]


# The runs


def test_the_summary_is_what_the_folds_models_say_of_the_images_that_they_have_not_seen(photos, crossed):
    made, _ = crossed
    truth, said = [], []
    for score in made.folds:
        model = striate.load(made.folder / score.run)
        fold = load_fold(photos, score.number, 4, held={}, seed=4, size=(12, 12), channels=3)
        own = model.probabilities(fold.test.x).argmax(1)
        assert score.images == len(own) and score.accuracy == (own == fold.test.y).mean()
        truth, said = [*truth, *fold.test.y], [*said, *own]
    assert len(truth) == made.images == 40
    shares = [score.accuracy for score in made.folds]
    assert made.mean == pytest.approx(np.mean(shares)) and made.deviation == pytest.approx(np.std(shares, ddof=1))
    assert made.accuracy == np.mean(np.array(truth) == np.array(said))
    assert made.accuracy_interval == compute_wilson(round(made.accuracy * 40), 40)
    np.testing.assert_array_equal(made.confusion, confusion_matrix(truth, said))
    assert made.macro_f1 == pytest.approx(f1_score(truth, said, average="macro"))
    assert json.loads(RunFiles(made.folder).folds.read_text()) == json.loads(json.dumps(made.as_dict())) | {
        "data": str(photos)
    }


def test_the_plan_says_how_many_trainings_there_are_and_what_all_of_them_take(crossed):
    _, lines = crossed
    assert [line for line in lines if line.startswith("fold ") and ":" in line and "test split" in line] == [
        f"fold {k} of 4: the test split of one of 4 trainings" for k in (1, 2, 3, 4)
    ]
    assert [line.split(":")[0] for line in lines if line.startswith("expected for")] == [
        "expected for all 4 trainings", "expected for the 3 trainings left",
        "expected for the 2 trainings left",
    ]  # fmt: skip


def test_a_folds_run_is_evaluated_on_its_own_fold(photos, crossed):
    made, _ = crossed
    for score in made.folds:
        model = striate.load(made.folder / score.run)
        found = model.evaluate(photos)
        assert (found.images, found.accuracy, found.left_out) == (score.images, score.accuracy, False)
        assert model.images(photos).files == load_fold(photos, score.number, 4, held={}, seed=4).test.files


def test_an_exported_fold_is_evaluated_on_its_own_fold(photos, crossed, tmp_path):
    """It does not know which images it was trained on: the fold is all that keeps it from being measured on them."""
    made, _ = crossed
    striate.export(striate.load(made.folder / "fold-2"), tmp_path / "two.onnx")
    found = striate.load(tmp_path / "two.onnx").evaluate(photos)
    assert (found.images, found.accuracy) == (made.folds[1].images, made.folds[1].accuracy)


@pytest.mark.parametrize("told", [None, "1", [1], [0, 3], [4, 3], [1, 1], [1.0, 3], ["1", "3"], [True, 3]])
def test_a_fold_that_makes_no_sense_in_an_exported_file_is_none(told):
    assert read_fold(told) is None and read_fold([2, 3]) == (2, 3)


def test_a_fold_of_the_digits_is_evaluated_on_its_own_fold(tmp_path):
    made = striate.train("digits", "lenet5", epochs=1, folds=3, out=tmp_path / "run", watch=Watch())
    found = striate.load(made.folder / "fold-3").evaluate("digits")
    assert (found.images, found.accuracy) == (made.folds[2].images, made.folds[2].accuracy) and found.images > 590
    other = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8), np.arange(50) % 10
    assert len(striate.load(made.folder / "fold-3").images(other)) == 50, "other data is measured whole"


def test_folds_of_a_transfer(noise_photos, transferred, tmp_path):  # noqa: F811
    weights = transferred.parent / "backbone.safetensors"
    made = striate.train(
        noise_photos, BACKBONE, preset="transfer", weights=weights, folds=3, out=tmp_path / "run", watch=Watch()
    )
    assert made.images == 40 and len(made.folds) == 3
    chosen = [striate.load(made.folder / score.run).header.recipe["strength"] for score in made.folds]
    refit = striate.load(made.folder)
    assert refit.header.recipe["strength"] == sorted(chosen)[1] and refit.header.known.counts == (40, 0)
    assert refit.evaluate(noise_photos).accuracy == made.accuracy
    heads = striate.train(
        noise_photos, BACKBONE, preset="transfer", weights=weights, folds=3, keep="ensemble", out=tmp_path / "heads",
        watch=Watch(),
    )  # fmt: skip
    whole, one = striate.load(heads.folder), striate.load(heads.folder / "fold-1")
    assert summarise_net(whole.net).macs < 1.5 * summarise_net(one.net).macs, "they share the backbone"


def test_images_that_the_folds_weights_know_are_told(photos, tmp_path):
    lender = striate.train(photos, NET, out=tmp_path / "lender", watch=Watch(), **SETTINGS)
    made = striate.train(photos, weights=lender.folder, epochs=1, folds=2, out=tmp_path / "run", watch=Watch())
    assert sum(score.known for score in made.folds) == 36, "those that the lender was trained and validated on"
    assert "of these, 36 images were known to the net that judged them" in str(made)


def count_images(p, y):
    return float(len(y))


def test_metrics_of_ones_own_have_a_mean_over_the_folds(photos, tmp_path):
    made = cross(photos, tmp_path / "run", folds=3, epochs=1, keep="none", metrics={"n": count_images})
    assert [score.metrics for score in made.folds] == [{"n": 14.0}, {"n": 13.0}, {"n": 13.0}]
    assert f"mean of n {40 / 3:.4g} ± {np.std([14, 13, 13], ddof=1):.2g}" in str(made).splitlines()
    (made.folder / "folds.json").unlink()
    with pytest.raises(StriateError, match="metrics"):
        cross(photos, made.folder, folds=3, epochs=1, resume=True)


def test_arrays_and_a_dataset_are_cut_too(photos, tmp_path):
    data = load_dataset(photos)
    made = cross((data.train.x, data.train.y), tmp_path / "arrays", folds=2, epochs=1, keep="none")
    assert made.images == 32
    made = cross(data, tmp_path / "dataset", folds=2, epochs=1, keep="none")
    assert made.images == 32, "its test split is in no fold"


def test_shards_that_memory_does_not_hold_are_cut_as_the_folder_is(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("striate.data.store.cache.platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "c"))
    for shard in range(2):
        kept = {}
        for k in range(shard * 20, shard * 20 + 20):
            kept |= {f"{k:03}.png": picture(k), f"{k:03}.cls": b"ab"[k % 2 : k % 2 + 1]}
        pack(tmp_path / f"s-{shard}.tar", kept)
    made = cross(str(tmp_path / "s-{0..1}.tar"), tmp_path / "run", folds=2, epochs=1, keep="none", memory="1K")
    assert made.images == 40 and made.classes == ("a", "b")
    known = [striate.load(made.folder / score.run).header.known for score in made.folds]
    marks = [np.frombuffer(one.train + one.valid, "<u8") for one in known]
    assert sum(map(len, marks)) == 40 and not set(marks[0]) & set(marks[1])


# Stopped, killed, resumed


def snapshot(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "report.json", "folds.json", "out_of_fold.safetensors")
    return {str(path.relative_to(folder)): path.read_bytes() for name in names for path in folder.rglob(name)}


@pytest.mark.parametrize("lost", ["fold-2/report.json", "fold-3", "fold-2", "folds.json"])
def test_a_cross_validation_that_was_cut_short_goes_on_as_it_began(photos, crossed, tmp_path, lost):
    """Without any of the arguments that it began with: the folds that have not begun take them from the first."""
    made, _ = crossed
    shutil.copytree(made.folder, tmp_path / "run")
    (tmp_path / "run" / "folds.json").unlink()
    for gone in (tmp_path / "run" / lost, tmp_path / "run" / "fold-4"):
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink(missing_ok=True)
    again = striate.train(photos, out=tmp_path / "run", resume=True, watch=Watch())
    assert again.as_dict() == made.as_dict() and snapshot(tmp_path / "run") == snapshot(made.folder)


KILLING = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
import striate
from striate.fitting.watch import Watch
import striate.data.sources.folds, striate.engines.torch, striate.runs.report_content
source, net, folder, kills = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
random.seed(7)
done = 0
while True:
    began = os.path.exists(os.path.join(folder, "fold-1", "recipe.json"))
    child = os.fork()
    if child == 0:
        given = dict(epochs=2, batch=8, seed=4, augment="flip+mixup", folds=4)
        striate.train(source, net, out=folder, resume=began, save_every=0.0, watch=Watch(), **given)
        os._exit(0)
    if done < kills:
        time.sleep(random.uniform(0.1, 0.5))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        done += 1
    elif os.waitstatus_to_exitcode(status) == 0:
        break
    else:
        sys.exit("the child failed")
"""


def test_a_cross_validation_killed_at_random_moments_is_the_whole_one_bit_for_bit(photos, crossed, tmp_path):
    done = forked.run(["-c", KILLING, str(photos), NET, str(tmp_path / "run"), "6"])
    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path / "run") == snapshot(crossed[0].folder)
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_stop_says_how_all_folds_go_on(photos, tmp_path):
    class Stopping(Watch):
        def epoch(self, row, epochs, best):
            import os
            import signal

            if (tmp_path / "run" / "fold-2" / "recipe.json").exists():
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stopped:
        cross(photos, tmp_path / "run", Stopping(), folds=3)
    assert str(stopped.value).endswith(f"striate train {photos} --out {tmp_path / 'run'} --resume")
    assert not (tmp_path / "run" / "fold-3").exists()
    made = striate.train(photos, out=tmp_path / "run", resume=True, watch=Watch())
    assert made.as_dict() == cross(photos, tmp_path / "whole", folds=3).as_dict()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"folds": 5}, "--folds 4"),
        ({"keep": "none"}, "began with --keep refit"),
        ({"seed": 5}, "began with 4"),
        ({"epochs": 3}, "began with 2"),
    ],
    ids=str,
)
def test_what_contradicts_the_beginning_is_refused(photos, crossed, given, message):
    with pytest.raises(RunError) as refused:
        striate.train(photos, out=crossed[0].folder, resume=True, watch=Watch(), **given)
    assert message in str(refused.value)


def test_a_fold_that_was_cut_short_is_resumed_by_itself_too(photos, crossed, tmp_path):
    shutil.copytree(crossed[0].folder, tmp_path / "run")
    (tmp_path / "run" / "fold-2" / "report.json").unlink()
    run = striate.train(photos, out=tmp_path / "run" / "fold-2", resume=True, watch=Watch())
    assert run.tested and snapshot(tmp_path / "run") == snapshot(crossed[0].folder)


def test_a_folder_without_a_refit_is_no_model_and_says_where_they_are_and_gets_one_later(photos, tmp_path):
    made = cross(photos, tmp_path / "run", folds=2, epochs=1, keep="none")
    assert made.kept == "none" and not (made.folder / "report.json").exists()
    with pytest.raises(ModelError) as refused:
        striate.load(made.folder)
    assert str(made.folder / "fold-1") in refused.value.hint
    assert striate.load(made.folder / "fold-1").classes == ("a", "b")
    again = striate.train(photos, out=made.folder, resume=True, keep="refit", watch=Watch())
    assert again.as_dict() == made.as_dict() | {"kept": "refit"}
    assert striate.load(made.folder).header.known.counts == (40, 0)
    with pytest.raises(RunError, match="--keep: a run is resumed with what it began with"):
        striate.train(photos, out=made.folder, resume=True, keep="none", watch=Watch())


# The refit


def test_the_refit_is_a_training_on_all_images_for_as_long_as_the_folds_chose(photos, tmp_path):
    made = cross(photos, tmp_path / "run", folds=3, epochs=3, selection="best")
    chosen = sorted(striate.load(made.folder / score.run).header.metrics["epoch"] for score in made.folds)
    refit = striate.load(made.folder)
    assert refit.header.recipe["epochs"] == chosen[1] and refit.header.fold is None
    cut = load_fold(photos, 0, 3, held={}, seed=4, size=(12, 12), channels=3, valid_share=0.0)
    assert sorted(cut.train.files) == sorted(f"{'ab'[k % 2]}/{k}.png" for k in range(40)) and not len(cut.valid)
    few = cut.train.take(np.arange(4))
    data = Dataset("photos", cut.train, few, None, (), "whole", ())
    plain = cross(data, tmp_path / "plain", epochs=chosen[1], selection="last")
    for name, tensor in plain.model.tensors.items():
        np.testing.assert_array_equal(refit.tensors[name], tensor)


def test_the_refits_report_is_what_the_folds_said_and_so_is_its_evaluation(photos, crossed):
    folder, made = crossed[0].folder, crossed[0]
    report, own = json.loads((folder / "report.json").read_text()), striate.load(folder).evaluate(photos)
    assert report["split"] == "cross-validation" and report["known"] == 0
    assert report["accuracy"] == own.accuracy == made.accuracy and report["images"] == own.images == 40
    assert tuple(report["accuracy_interval"]) == own.accuracy_interval == compute_wilson(round(made.accuracy * 40), 40)
    np.testing.assert_array_equal(own.confusion, made.confusion)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all("valid_acc" not in row for row in rows), "no image was left to validate on"


def test_the_studio_and_a_calibration_take_the_folds_answers_for_the_refits(photos, crossed, tmp_path):
    shutil.copytree(crossed[0].folder, tmp_path / "run")
    shown = Studio([tmp_path / "run"]).results("run")
    assert shown["accuracy"] == crossed[0].accuracy and shown["images"] == 40
    found = striate.calibrate(tmp_path / "run", photos, 0.4)
    kept = read_out_of_fold(tmp_path / "run" / "model.safetensors")
    assert found.calibrated.images == 40 and found.temperature.loss_before == pytest.approx(
        log_loss(kept.labels, kept.probabilities), abs=1e-9
    )


def test_an_ensemble_is_one_model_that_says_the_mean_of_the_folds_nets(photos, tmp_path):
    made = cross(photos, tmp_path / "run", folds=3, epochs=1, keep="ensemble")
    nets, whole = [striate.load(made.folder / score.run) for score in made.folds], striate.load(made.folder)
    assert len({net.preprocess.mean for net in nets}) > 1, "each with its own standardisation"
    x = whole.images(photos).x
    wanted = np.mean([net.probabilities(x) for net in nets], axis=0)
    np.testing.assert_allclose(whole.probabilities(x), wanted, atol=1e-6)
    assert whole.header.known.counts == (40, 0) and whole.evaluate(photos).accuracy == made.accuracy
    before = snapshot(made.folder)
    assert len(before) == 10, "model and report of each, what the folds said, and the summary"
    for name in ("report.json", "model.safetensors", "folds.json"):
        (made.folder / name).unlink()
    again = striate.train(photos, out=made.folder, resume=True, watch=Watch())
    assert again.kept == "ensemble" and snapshot(made.folder) == before
    with pytest.raises(RunError, match="--keep: a run is resumed with what it began with"):
        striate.train(photos, out=made.folder, resume=True, keep="refit", watch=Watch())


REFIT_KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
import striate
from striate.fitting.watch import Watch
source, net, folder = sys.argv[1:]
class Killing(Watch):
    def epoch(self, row, epochs, best):
        if os.path.exists(os.path.join(folder, "recipe.json")):
            os.kill(os.getpid(), signal.SIGKILL)
given = dict(epochs=2, batch=8, seed=4, augment="flip+mixup", folds=4)
for count, watch in enumerate((Killing(), Killing(), Watch())):
    child = os.fork()
    if child == 0:
        striate.train(source, net, out=folder, resume=count > 0, watch=watch, **given)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) == (count < 2), status
"""


def test_a_refit_that_was_killed_goes_on_and_is_the_whole_one_bit_for_bit(photos, crossed, tmp_path):
    done = forked.run(["-c", REFIT_KILLED, str(photos), NET, str(tmp_path / "run")])
    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path / "run") == snapshot(crossed[0].folder)


@pytest.mark.parametrize(
    "lost", [["report.json", "folds.json"], ["out_of_fold.safetensors", "report.json"], ["recipe.json", "report.json"]]
)
def test_a_refit_that_lacks_its_last_files_is_completed(photos, crossed, tmp_path, lost):
    shutil.copytree(crossed[0].folder, tmp_path / "run")
    for name in {*lost, "folds.json"}:
        (tmp_path / "run" / name).unlink()
    striate.train(photos, out=tmp_path / "run", resume=True, watch=Watch())
    assert snapshot(tmp_path / "run") == snapshot(crossed[0].folder)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"keep": "refit"}, "keep: a model is kept of a cross-validation"),
        ({"keep": "refits", "folds": 3}, "keep: there is no such model to keep"),
    ],
    ids=str,
)
def test_a_model_to_keep_without_folds_or_of_no_such_name_is_refused(photos, tmp_path, given, message):
    with pytest.raises(RecipeError, match=message) as refused:
        cross(photos, tmp_path / "run", **given)
    assert refused.value.hint in ("--folds 5 --keep refit", "did you mean 'refit'?")
    assert not (tmp_path / "run").exists()


def test_folds_that_are_resumed_are_not_looked_for_by_other_processes_than_the_first(photos, crossed):
    """Only the first process's machine needs to have the folder."""
    with pytest.raises(RecipeError, match="cross-validation trains in one process"):
        find_fold_count(photos, Options(out=crossed[0].folder, resume=True), Ranks(world=2))
    check_folds(Options(out=photos / "nowhere", resume=True))


def test_other_images_than_it_began_with_are_refused_also_for_folds_that_have_not_begun(photos, crossed, tmp_path):
    shutil.copytree(crossed[0].folder, tmp_path / "run")
    shutil.copytree(photos, tmp_path / "photos")
    shutil.rmtree(tmp_path / "run" / "fold-4")
    (tmp_path / "photos" / "a" / "new.png").write_bytes(picture(99))
    with pytest.raises(RunError, match="the images are not the ones that this run began with"):
        striate.train(tmp_path / "photos", out=tmp_path / "run", resume=True, watch=Watch())
    assert not (tmp_path / "run" / "fold-4").exists()


def test_a_plain_run_and_a_cross_validation_do_not_share_a_folder(photos, crossed, tmp_path):
    with pytest.raises(RunError, match="this folder holds a run already"):
        cross(photos, crossed[0].folder)
    plain = cross(photos, tmp_path / "plain").folder
    with pytest.raises(RunError, match="this folder holds a run already"):
        cross(photos, plain, folds=2)
    with pytest.raises(RunError) as refused:
        cross(photos, plain, folds=2, resume=True)
    assert refused.value.rule == f"{plain} began with one training"


@pytest.mark.parametrize("count", [1, 0, -3])
def test_fewer_than_two_folds_are_refused_and_nothing_is_written(photos, tmp_path, count):
    with pytest.raises(RecipeError, match="cross-validation needs two folds or more"):
        cross(photos, tmp_path / "run", folds=count)
    with pytest.raises(RecipeError, match="cross-validation trains in one process"):
        cross(photos, tmp_path / "run", folds=2, devices=2)
    with pytest.raises(DataError, match="class a cannot be in each of 21 folds"):
        cross(photos, tmp_path / "run", folds=21)
    assert not (tmp_path / "run").exists()


def test_resume_alone_finds_the_newest_unfinished_cross_validation(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = striate.train(photos, NET, folds=2, watch=Watch(), **SETTINGS)
    assert made.folder == Path("runs/photos-1")
    plain = striate.train(photos, NET, watch=Watch(), **SETTINGS)
    assert plain.folder == Path("runs/photos-2")
    (made.folder / "folds.json").unlink()
    assert striate.train(photos, resume=True, watch=Watch()).as_dict() == made.as_dict()


def test_the_studio_opens_the_refit_and_the_folds_by_name(photos, crossed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(crossed[0].folder, "runs/photos-1")
    assert [run.name for run in list_run_folders([])] == ["photos-1"], "the refit"
    assert TrainingJobs().free("", str(photos)) == Path("runs/photos-2")
    runs = list_run_folders([Path("runs/photos-1")])
    assert [run.name for run in runs] == ["photos-1", "fold-1", "fold-2", "fold-3", "fold-4"]
    assert all(run.as_dict(0.0)["state"] == "done" for run in runs)


def test_the_command_prints_the_folds_and_their_mean(photos, tmp_path):
    words = ["train", str(photos), "--net", NET, "--folds", "2", "--epochs", "1", "--out", "run"]
    done = forked.run(["-m", "striate", *words], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines, kept = done.stdout.splitlines(), json.loads((tmp_path / "run/folds.json").read_text())
    assert lines[0].split()[:3] == ["fold", "images", "accuracy"] and len(lines) == 7
    assert lines[3].startswith(f"mean of 2 folds {kept['mean']:.2%}".replace("%", " %"))
    assert lines[5:] == ["refit    run/model.safetensors, trained on all 40 images", "summary  run/folds.json"]
