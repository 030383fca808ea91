"""A sweep: what it searches, what it keeps, how it ends, and that it goes on where it was stopped or killed."""

from __future__ import annotations

import json
import time
import xml.dom.minidom
from pathlib import Path

import numpy as np
import pytest

import striate
from striate.errors import RecipeError, RunError, StriateError
from striate.fitting.recipe import Recipe
from striate.fitting.watch import Watch
from striate.runs import search_trials
from striate.runs.search_space import ChoiceOf, NumberRange, parse_space, read_space, write_space
from striate.runs.training import TrainingInterrupted
from tests.stopping import StopAfterSteps

optuna = pytest.importorskip("optuna")

NET = "Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(10)])"
OTHER = "Net((1, 8, 8), [Flatten(), Dense(10)])"
RATES = {"lr": {"low": 1e-3, "high": 0.1}}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images[:600] * 15.9).astype(np.uint8), found.target[:600]


def search(data, folder: Path, **given):
    usual = {"trials": 3, "epochs": 2, "batch": 100, "net": NET, "space": RATES, "watch": Watch(), "out": folder}
    return striate.sweep(data, **usual | given)


def read_study(folder: Path):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return optuna.load_study(study_name="sweep", storage=JournalStorage(JournalFileBackend(str(folder / "trials.log"))))


def read_history(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_best_by_validation_is_the_run_and_it_alone_is_measured(digits, tmp_path):
    found = search(digits, tmp_path / "s", trials=4)
    assert [t.number for t in sorted(found.trials, key=lambda t: t.number)] == [1, 2, 3, 4]
    for trial in found.trials:
        rows = read_history(tmp_path / "s" / f"trial-{trial.number}")
        assert trial.epochs == len(rows)
        assert trial.valid_acc == max(row["valid_acc"] for row in rows)
        settings = json.loads((tmp_path / "s" / f"trial-{trial.number}" / "recipe.json").read_text())
        assert settings["recipe"]["lr"] == trial.params["lr"] and 1e-3 <= trial.params["lr"] <= 0.1
        assert (tmp_path / "s" / f"trial-{trial.number}" / "report.json").exists() == (trial is found.best)
    done = [t for t in found.trials if t.state == "done"]
    assert found.best.valid_acc == max(t.valid_acc for t in done)
    assert found.run.folder == tmp_path / "s" / f"trial-{found.best.number}"
    assert found.run.report.accuracy == striate.load(found.run.folder).evaluate(digits).accuracy
    assert {t.params["lr"] for t in read_study(tmp_path / "s").trials} == {t.params["lr"] for t in found.trials}


def test_the_table_the_record_and_the_picture_show_the_trials(digits, tmp_path):
    found = search(digits, tmp_path / "s", space={**RATES, "net": [NET, OTHER]}, net=None)
    rows = str(found).splitlines()[2:-2]
    assert [int(row.split()[0]) for row in rows] == [t.number for t in found.trials]
    kept = json.loads((tmp_path / "s" / "trials.json").read_text())
    assert kept == json.loads(json.dumps(found.as_dict())) and kept["run"] == str(found.run.folder)
    picture = xml.dom.minidom.parseString((tmp_path / "s" / "sweep.svg").read_text())
    dots = picture.getElementsByTagName("circle")
    places = [(float(dot.getAttribute("cx")), float(dot.getAttribute("cy"))) for dot in dots]
    assert len(dots) == 3 and all(42 <= x <= 426 and 12 <= y <= 216 for x, y in places)
    by_rate = sorted(found.trials, key=lambda t: t.params["lr"])
    heights = {t.valid_acc: y for t, (_, y) in zip(found.trials, places, strict=True)}
    assert sorted(heights) == sorted(heights, key=heights.get, reverse=True), "the higher, the more accurate"
    order = sorted(range(3), key=lambda i: places[i][0])
    assert [found.trials[i].number for i in order] == [t.number for t in by_rate]
    assert {t.params["net"] for t in found.trials} <= {NET, OTHER}


def test_the_first_trial_has_the_presets_own_values(digits, tmp_path):
    found = search(digits, tmp_path / "s", trials=1, optimizer="adamw")
    base = json.loads((tmp_path / "s" / "sweep.json").read_text())["base"]
    recipe = Recipe(**{**base, "optimizer": "adamw", "batch": 100, "epochs": 2})
    assert found.best.params == {"lr": pytest.approx(recipe.peak)}


def test_by_the_data_it_searches_net_rate_and_augmentation_but_not_what_is_given(digits, tmp_path):
    found = striate.sweep(digits, trials=1, epochs=1, augment="none", net="lenet5", out=tmp_path / "s", watch=Watch())
    assert list(found.space) == ["lr"]
    assert found.space["lr"].low < found.best.params["lr"] < found.space["lr"].high
    with pytest.raises(RecipeError, match="all that would be searched is given"):
        striate.sweep(
            digits, trials=1, epochs=1, augment="none", net="lenet5", lr=0.1, out=tmp_path / "t", watch=Watch()
        )
    assert not (tmp_path / "t" / "sweep.json").exists()


def test_a_stopped_sweep_goes_on_with_the_trial_under_way_and_repeats_none(digits, tmp_path):
    """Five steps an epoch, ten a trial: the stop falls into the second trial's first epoch."""
    with pytest.raises(TrainingInterrupted, match=r'striate.sweep\(data, out=".*", resume=True, trials=3\)'):
        search(digits, tmp_path / "s", watch=StopAfterSteps(12))
    study = read_study(tmp_path / "s")
    assert [t.state.name for t in study.trials] == ["COMPLETE", "RUNNING"]
    first, broken = study.trials[0].params, study.trials[1].params
    found = striate.sweep(digits, trials=3, resume=True, out=tmp_path / "s", watch=Watch())
    by_number = {t.number: t for t in found.trials}
    assert sorted(by_number) == [1, 2, 3]
    assert by_number[1].params == first and by_number[2].params == broken
    assert len({t.params["lr"] for t in found.trials}) == 3
    for number in by_number:
        assert [row["epoch"] for row in read_history(tmp_path / "s" / f"trial-{number}")] == [1, 2]
    more = striate.sweep(digits, trials=4, resume=True, out=tmp_path / "s", watch=Watch())
    assert len(more.trials) == 4 and {t.number for t in more.trials} == {1, 2, 3, 4}


def test_a_sweep_that_was_stopped_says_the_command_that_goes_on(tmp_path, monkeypatch):
    import shlex

    from typer.testing import CliRunner

    from striate.cli import app

    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingInterrupted) as stopped:
        search("digits", Path("my sweep"), trials=2, watch=StopAfterSteps(3))
    words = shlex.split(str(stopped.value).splitlines()[1])
    found = CliRunner().invoke(app, words[1:])
    assert words[:3] == ["striate", "sweep", "digits"] and "2 trials" in found.stdout, found.output


def test_a_kill_between_a_checkpoint_and_the_study_loses_no_epoch(digits, tmp_path, monkeypatch):
    with monkeypatch.context() as broken, pytest.raises(MemoryError):

        def kill(*_, **__):
            raise MemoryError

        broken.setattr(search_trials.TrialWatch, "epoch", kill)
        search(digits, tmp_path / "s")
    found = striate.sweep(digits, trials=3, resume=True, out=tmp_path / "s", watch=Watch())
    assert {t.state for t in found.trials} <= {"done", "pruned"} and len(found.trials) == 3
    assert [row["epoch"] for row in read_history(tmp_path / "s" / "trial-1")] == [1, 2]


def test_the_same_seed_gives_the_same_sweep(digits, tmp_path):
    one, two = search(digits, tmp_path / "a"), search(digits, tmp_path / "b")
    told = [[(t.number, t.params, t.state, t.valid_acc, t.valid_loss) for t in s.trials] for s in (one, two)]
    assert told[0] == told[1]


def test_a_trial_that_is_behind_is_pruned_and_keeps_its_epochs(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(search_trials, "UNPRUNED_TRIALS", 1)
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda self, study, trial: trial.number == 1)
    found = search(digits, tmp_path / "s", epochs=3)
    [pruned] = [t for t in found.trials if t.state == "pruned"]
    assert (pruned.number, pruned.epochs) == (2, 1) and found.trials[-1] is pruned
    assert len(read_history(tmp_path / "s" / "trial-2")) == 1
    assert read_study(tmp_path / "s").trials[1].state.name == "PRUNED"


def test_a_trial_that_fails_is_told_with_its_reason_and_the_others_go_on(digits, tmp_path):
    too_small = "Net((1, 8, 8), [Conv(4, 9), Flatten(), Dense(10)])"
    found = search(digits, tmp_path / "s", net=None, space={"net": ["resnet999", NET]}, trials=4)
    failed = [t for t in found.trials if t.state == "failed"]
    assert failed and all("no zoo net" in t.why and t.params["net"] == "resnet999" for t in failed)
    assert found.best.params["net"] == NET
    with pytest.raises(RunError, match="no trial came to the end of an epoch"):
        search(digits, tmp_path / "t", net=None, space={"net": [too_small]}, trials=2)


def test_the_time_is_kept_and_what_was_spent_counts_when_it_goes_on(digits, tmp_path):
    began = time.perf_counter()
    found = search(digits, tmp_path / "s", minutes=0.05, trials=None, epochs=1)
    assert found.trials and time.perf_counter() - began < 30
    before = len(found.trials)
    again = striate.sweep(digits, minutes=0.0001, resume=True, out=tmp_path / "s", watch=Watch())
    assert len(again.trials) == before


@pytest.mark.parametrize(
    "given, where",
    [
        ({"minutes": None, "trials": None}, "minutes"),
        ({"trials": 0}, "trials"),
        ({"minutes": -1.0}, "minutes"),
        ({"preset": "best"}, "preset"),
        ({"folds": 3}, "folds"),
        ({"space": {}}, "space"),
        ({"space": {"epochs": [1, 2]}}, "space.epochs"),
        ({"space": {"lr": {"low": 1.0, "high": 0.1}}}, "space.lr"),
        ({"space": {"lr": 0.1}}, "space.lr"),
        ({"space": {"momentum": []}}, "space.momentum"),
        ({"lr": 0.1}, "space.lr"),
    ],
)
def test_what_makes_no_sweep_is_refused_before_anything_is_written(digits, tmp_path, given, where):
    with pytest.raises(RecipeError) as caught:
        search(digits, tmp_path / "s", **given)
    assert caught.value.where == where
    assert not (tmp_path / "s" / "sweep.json").exists()


def test_a_space_is_the_same_from_toml_and_from_its_record(tmp_path):
    (tmp_path / "space.toml").write_text(
        'net = ["lenet5", "resnet18"]\nlr = {low = 0.001, high = 0.1}\nsize = [28, 32]\n'
    )
    space = read_space(tmp_path / "space.toml")
    assert space == {
        "net": ChoiceOf(("lenet5", "resnet18")), "lr": NumberRange(0.001, 0.1), "size": ChoiceOf((28, 32))
    }  # fmt: skip
    assert parse_space(json.loads(json.dumps(write_space(space)))) == space
    (tmp_path / "space.toml").write_text("net = [")
    with pytest.raises(RecipeError, match="cannot read this space"):
        read_space(tmp_path / "space.toml")


def test_a_folder_that_holds_a_sweep_is_resumed_with_what_it_began_with_or_not_at_all(digits, tmp_path):
    search(digits, tmp_path / "s", trials=1)
    with pytest.raises(RunError, match="holds a sweep already"):
        search(digits, tmp_path / "s")
    with pytest.raises(RunError, match="a sweep is resumed with what it began with"):
        search(digits, tmp_path / "s", resume=True, batch=50)
    with pytest.raises(RunError, match="no sweep here to resume"):
        search(digits, tmp_path / "t", resume=True)


def test_a_missing_package_is_named(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("striate.runs.search.find_spec", lambda name: None)
    with pytest.raises(StriateError) as caught:
        search(digits, tmp_path / "s")
    assert caught.value.hint == 'pip install "striate[sweep]"'


def test_the_command_prints_the_table_and_where_the_run_is(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from striate.cli import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.toml").write_text("lr = {low = 0.001, high = 0.1}")
    words = ["sweep", "digits", "--trials", "2", "--epochs", "1", "--net", NET, "--space", "space.toml"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "2 trials, the best first" in found.stdout
    [line] = [line for line in found.stdout.splitlines() if line.startswith("model ")]
    assert striate.load(line.split()[-1]).classes == tuple("0123456789")
    again = CliRunner().invoke(app, ["sweep", "digits", "--resume", "--trials", "2", "--json"])
    assert len(json.loads(again.stdout)["trials"]) == 2


def test_the_trials_of_a_sweep_are_logged_too(digits, tmp_path, monkeypatch):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(search_trials, "UNPRUNED_TRIALS", 1)
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda self, study, trial: trial.number == 1)
    found = search(digits, tmp_path / "s", log="tensorboard")
    for trial in found.trials:
        log = reading.EventAccumulator(str(tmp_path / "s" / f"trial-{trial.number}" / "tensorboard")).Reload()
        assert [e.step for e in log.Scalars("loss/train")] == list(range(1, trial.epochs + 1))
        assert ("confusion/test" in log.Tags()["images"]) == (trial is found.best)
