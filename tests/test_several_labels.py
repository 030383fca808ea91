"""Several labels a picture: how a table says them, what is learnt, and that nothing takes such a model for classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_fscore_support
from typer.testing import CliRunner

import striate
from striate.cli import app
from striate.data.label_sets import make_targets
from striate.data.reading import make_reading
from striate.data.sources.load import list_source, load_dataset
from striate.engines.model_file import ModelHeader, read_head, read_model, save_model
from striate.errors import DataError, ModelError, RecipeError, RunError, StriateError
from striate.fitting.watch import Watch
from striate.metrics.label_report import (
    choose_threshold,
    compute_average_precision,
    find_map_interval,
    score_labels,
)
from striate.model.answering import find_outputs
from striate.runs.head_ways import fit_label_heads
from striate.transfer import features
from tests.answering_service import ask_service, infer_picture, running_service
from tests.small_backbone import save_backbone

NAMES = ("red", "green", "top")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(features.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))


def draw_pictures(folder, count: int, seed: int = 0) -> np.ndarray:
    """PNG files of 32×32, each reddish or not, greenish or not, with a bright top or not: bool N×3."""
    draw = np.random.default_rng(seed)
    truth = draw.random((count, 3)) < (0.5, 0.5, 0.2)
    folder.mkdir()
    for k, (red, green, top) in enumerate(truth):
        x = draw.normal(80, 10, (32, 32, 3))
        x[..., 0] += 80 * red
        x[..., 1] += 80 * green
        x[:10] += 60 * top
        Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(folder / f"{k}.png")
    return truth


def write_table(path, truth, header="file,red,green,top"):
    rows = [f"pictures/{k}.png,{','.join(str(int(mark)) for mark in row)}" for k, row in enumerate(truth)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def table(tmp_path):
    truth = draw_pictures(tmp_path / "pictures", 24)
    return write_table(tmp_path / "table.csv", truth), truth


def read_truth(path, names, **reading) -> np.ndarray:
    """Which labels the pictures have, in the order of their numbers."""
    data = load_dataset(path, reading=make_reading(reading))
    parts = [part for part in (data.train, data.valid, data.test) if part is not None]
    files = [file for part in parts for file in part.files]
    rows = np.concatenate([make_targets(part, names) for part in parts])
    return rows[np.argsort([int(file.split("/")[-1].split(".")[0]) for file in files])]


def test_columns_of_0_and_1_are_the_labels_that_they_say(table):
    path, truth = table
    np.testing.assert_array_equal(read_truth(path, NAMES, labels="red,green,top"), truth)
    np.testing.assert_array_equal(read_truth(path, ("top", "red"), labels=["top", "red"]), truth[:, [2, 0]])


@pytest.mark.parametrize("mark", [";", "|", ", "])
def test_lists_in_a_cell_are_the_labels_that_the_columns_say(table, mark):
    path, truth = table
    cells = [mark.join(name for name, has in zip(NAMES, row, strict=True) if has) for row in truth]
    rows = [f'pictures/{k}.png,"{cell}"' for k, cell in enumerate(cells)]
    path.write_text("file,label\n" + "\n".join(rows) + "\n")
    assert "" in cells  # a picture without any label
    found = read_truth(path, NAMES, label_separator=mark.strip())
    np.testing.assert_array_equal(found, truth)


def test_a_split_may_have_a_set_of_labels_that_the_training_pictures_lack(tmp_path):
    draw_pictures(tmp_path / "pictures", 4)
    rows = ["file,red,green,split", *(f"pictures/{k}.png,{k % 2},0,train" for k in range(3)), "pictures/3.png,1,1,test"]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    data = load_dataset(tmp_path / "table.csv", reading=make_reading({"labels": "red,green"}))
    assert data.test is not None
    assert make_targets(data.test, ("red", "green")).tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("cells", "reading", "words"),
    [
        ("1,2,0", {"labels": "red,green"}, "line 25: the column green says neither 0 nor 1\n  got   2"),
        ("1,,0", {"labels": "red,green"}, "neither 0 nor 1\n  got   nothing"),
        ("1,0,0", {"labels": "red,blue"}, "there is no column 'blue'\n  hint  --labels: "),
        ("1,0,0", {"labels": "red,red"}, "a column is named twice"),
        ("1,0,0", {"labels": "red", "label_separator": ";"}, "contradict each other"),
        ("1,0,0", {"labels": "red,top", "corrections": (("a", "b", "c", "d"),)}, "contradict each other"),
        ("1,0,0", {"label_separator": ""}, "nothing stands between labels"),
        ("n/a,0,0", {"label_separator": ";", "label_column": "red"}, None),
    ],
)
def test_a_table_that_says_no_labels_is_refused_with_the_reason(table, cells, reading, words):
    path, _ = table
    text = path.read_text().splitlines()[:24] + [f"pictures/23.png,{cells}"]
    path.write_text("\n".join(text) + "\n")
    with pytest.raises(DataError) as refused:
        list_source(path, make_reading(reading))
    if "label_column" not in reading and words:
        assert words in str(refused.value)
    else:
        assert "this row has no label" in str(refused.value)


def test_what_is_no_table_is_refused_where_several_labels_are_asked_for(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name / "1.png")
    for source in ("digits", tmp_path / "photos"):
        with pytest.raises(DataError, match="read from a table"):
            list_source(source, make_reading({"labels": "red,green"}))


def test_a_table_of_several_labels_without_the_option_is_told_of_it(table):
    with pytest.raises(DataError, match="--labels red,green,top all"):
        list_source(table[0])


def test_average_precision_and_f1_are_scikit_learns():
    draw = np.random.default_rng(0)
    truth = draw.random((200, 3)) < (0.5, 0.1, 0.9)
    p = np.round((truth * 0.3 + draw.random((200, 3))) / 1.3, 2)  # rounded, so that some are equal
    report = score_labels(p, truth, NAMES, (0.5, 0.3, 0.7))
    precision, recall, f1, support = precision_recall_fscore_support(truth, p >= (0.5, 0.3, 0.7))
    theirs = [average_precision_score(truth[:, k], p[:, k]) for k in range(3)]
    np.testing.assert_allclose([score.average_precision for score in report.per_label], theirs, rtol=1e-12)
    for own, other in (("precision", precision), ("recall", recall), ("f1", f1), ("support", support)):
        np.testing.assert_allclose([getattr(score, own) for score in report.per_label], other, rtol=1e-12)
    assert report.mean_average_precision == pytest.approx(average_precision_score(truth, p, average="macro"))
    assert report.all_right == ((p >= (0.5, 0.3, 0.7)) == truth).all(1).mean()
    assert compute_average_precision(p[:, 0], np.zeros(200, bool)) is None


def test_no_other_threshold_has_a_better_f1():
    draw = np.random.default_rng(1)
    for _ in range(20):
        truth = draw.random(40) < 0.3
        p = np.round((truth * 0.4 + draw.random(40)) / 1.4, 1 + draw.integers(2))

        def f1(least, p=p, truth=truth):
            return 2 * (truth & (p >= least)).sum() / max(1, truth.sum() + (p >= least).sum())

        assert f1(choose_threshold(p, truth)) == pytest.approx(max(f1(least) for least in [0, *p, 1.1]))
    assert choose_threshold(p, np.zeros(40, bool)) == 0.5


@pytest.fixture
def backbone(tmp_path):
    return save_backbone(tmp_path)


def test_a_labels_head_is_scikit_learns_logistic_regression_and_its_threshold_one_of_unseen_pictures():
    draw = np.random.default_rng(0)
    x = np.linalg.qr(draw.normal(size=(300, 6)))[0]
    x = np.linalg.qr(x - x.mean(0))[0] * np.sqrt(300)  # uncorrelated, of mean 0 and deviation 1
    truth = x[:, :2] + draw.normal(0, 1, (300, 2)) > (0, 0.8)
    own = x.astype(np.float32)
    weight, bias, thresholds, strengths, _ = fit_label_heads(own, truth, np.arange(300), 0, ())
    for k in range(2):
        theirs = LogisticRegression(C=2 / (300 * strengths[k]), tol=1e-8).fit(x, truth[:, k])
        np.testing.assert_allclose(weight[k], theirs.coef_[0], atol=0.02)
        np.testing.assert_allclose(bias[k], theirs.intercept_[0], atol=0.02)
        assert 0.1 < thresholds[k] < 0.9


@pytest.fixture
def run(backbone, tmp_path):
    write_table(tmp_path / "table.csv", draw_pictures(tmp_path / "pictures", 150))
    return striate.train(tmp_path / "table.csv", labels=NAMES, weights=backbone, out=tmp_path / "run", watch=Watch())


def test_a_run_of_several_labels_learns_them_and_answers_alike_everywhere(run, tmp_path, backbone):
    assert run.split == "test" and run.report.mean_average_precision > 0.9 and run.report.all_right > 0.6
    kept = json.loads((run.folder / "report.json").read_text())
    check_page((run.folder / "report.html").read_text())
    assert kept["mean_average_precision"] == run.report.mean_average_precision
    model = striate.load_labels(run.folder)
    assert model.labels == NAMES
    # The test split that was held back, found again from the model file.
    again = model.evaluate(tmp_path / "table.csv")
    assert again.as_dict() | {"known": None} == run.report.as_dict()
    # The probabilities are torch's sigmoid of what torch says of the prepared pixels, each for itself.
    files = [tmp_path / "pictures" / f"{k}.png" for k in range(5)]
    told = list(model.predict_files(files))
    x = model._model.standardised(np.stack([model.prepared(file) for file in files]))
    import torch

    theirs = torch.sigmoid(model._model.torch()(torch.from_numpy(x)).double()).detach().numpy()
    np.testing.assert_allclose([list(one.probabilities.values()) for one in told], theirs, atol=1e-5)
    for one in told:
        least = zip(model.labels, model.thresholds, strict=True)
        assert one.labels == tuple(name for name, share in least if one.probabilities[name] >= share)
    assert model.predict(files[0]).labels == told[0].labels
    check_refusals(run, tmp_path, backbone)
    check_way_out(run, tmp_path, files)


def check_page(html: str) -> None:
    """The page says the verdict before the figures, each label, and loads nothing from elsewhere."""
    assert html.index("All labels right on ") < html.index("Mean average precision")
    assert all(f"<td>{name}</td>" in html for name in NAMES)
    assert "http://" not in html.replace("http://www.w3.org", "") and "<script" not in html


def test_labels_that_were_swapped_in_the_table_are_found_and_named(backbone, tmp_path):
    truth = draw_pictures(tmp_path / "pictures", 200)
    written, swapped = truth.copy(), np.random.default_rng(3).choice(200, 8, replace=False)
    written[swapped, 0] = ~truth[swapped, 0]
    write_table(tmp_path / "table.csv", written)
    run = striate.train(tmp_path / "table.csv", labels=NAMES, weights=backbone, out=tmp_path / "run", watch=Watch())
    found = {int(doubt.file.split("/")[-1].split(".")[0]) for doubt in run.doubts if doubt.label == "red"}
    split = load_dataset(
        tmp_path / "table.csv", size=(32, 32), channels=3, reading=make_reading({"labels": "red,green,top"})
    )
    assert split.test is not None
    tested = {int(file.split("/")[-1].split(".")[0]) for file in split.test.files}
    assert set(swapped) - tested <= found and len(found) <= 12
    kept = json.loads((run.folder / "report.json").read_text())
    assert kept["doubts"] == [doubt._asdict() for doubt in run.doubts] and kept["judged"] == run.judged
    told = {doubt.file: doubt for doubt in run.doubts if doubt.label == "red"}
    for doubt in told.values():
        assert doubt.given == written[int(doubt.file.split("/")[-1].split(".")[0]), 0]
        assert (doubt.unseen > 0.5) == (doubt.given == 0)
    html = (run.folder / "report.html").read_text()
    assert "Likely label errors" in html and run.doubts[0].file in html


def test_the_interval_of_the_mean_average_precision_is_a_bootstraps():
    draw = np.random.default_rng(0)
    truth = draw.random((60, 2)) < 0.3
    p = np.round((truth * 0.3 + draw.random((60, 2))) / 1.3, 2)  # rounded, so that some are equal
    again, means = np.random.default_rng(0), []
    for _ in range(50):
        rows = again.integers(60, size=60)
        means.append(np.mean([average_precision_score(truth[rows, k], p[rows, k]) for k in range(2)]))
    np.testing.assert_allclose(find_map_interval(p, truth, 50), np.percentile(means, (2.5, 97.5)))
    assert find_map_interval(p, np.zeros((60, 2), bool)) is None


def check_way_out(run, tmp_path, files) -> None:
    """The exported file and the service answer as the model does; a form that there is not yet is refused by name."""
    model, file = run.model, tmp_path / "labels.onnx"
    held = striate.export(model, file, data=tmp_path / "table.csv")
    assert held.reference == "torch" and held.difference < 1e-4 and held.from_files < 0.02
    assert model.export(tmp_path / "again.onnx").outputs == "sigmoid"
    assert (tmp_path / "again.onnx").read_bytes() == file.read_bytes()
    exported = striate.load_labels(file)
    assert (exported.labels, exported.thresholds) == (model.labels, model.thresholds)
    x = np.stack([model.prepared(one) for one in files])
    np.testing.assert_allclose(exported.probabilities(x), model.probabilities(x), atol=1e-5)
    assert exported.evaluate(tmp_path / "table.csv").all_right == run.report.all_right
    import onnxruntime

    bare = onnxruntime.InferenceSession(file).run(None, {"images": np.asarray(Image.open(files[0]))[None]})
    np.testing.assert_allclose(bare[0], model.probabilities(x[:1]), atol=1e-5)  # with nothing but the file
    with pytest.raises(ModelError, match="gives several labels a picture, and this works with one class"):
        striate.load(file)
    with pytest.raises(ModelError, match="gives several labels a picture, and not a number"):
        striate.load_number(file)
    for form in ({"plain": True}, {"int8": True}, {"fp16": True}):
        with pytest.raises(ModelError, match=f"32-bit floats alone, and not as {next(iter(form))}"):
            striate.export(model, tmp_path / "other.onnx", **form)
    with pytest.raises(ModelError, match="and not as page"):
        striate.export(model, tmp_path / "other.html")
    assert not (tmp_path / "other.onnx").exists()
    for place in (run.folder, file):
        told = CliRunner().invoke(app, ["predict", str(place), *map(str, files), "--json"]).output.splitlines()
        assert [json.loads(line)["labels"] for line in told] == [list(model.predict(one).labels) for one in files]
        with running_service(place) as port:
            body, about = ask_service(port, files[0].read_bytes()), ask_service(port)
            found = infer_picture(port, place.stem, files[0].read_bytes())
        assert found["classes"] == ([len(model.labels)], list(model.labels))
        assert found["probabilities"][1] == pytest.approx(list(body["probabilities"].values()), abs=1e-6)
        assert [name for name, has in zip(model.labels, found["chosen"][1], strict=True) if has] == body["labels"]
        np.testing.assert_allclose(list(body["probabilities"].values()), model.probabilities(x[:1])[0], atol=1e-5)
        assert body["labels"] == list(model.predict(files[0]).labels)
        assert (about["outputs"], about["thresholds"]) == ("sigmoid", list(model.thresholds))


def check_refusals(run, tmp_path, backbone) -> None:
    """Nothing that works with classes takes the model, and no other way learns several labels."""
    assert (find_outputs(run.folder), find_outputs(backbone)) == ("sigmoid", "softmax")
    table, folder, out = tmp_path / "table.csv", run.folder, tmp_path / "other"
    for refused in (
        lambda: striate.load(folder),
        lambda: striate.load(folder / "model.safetensors"),
        lambda: striate.calibrate(folder, table),
        lambda: striate.label_errors(table, folder),
        lambda: striate.correct_label(folder, "pictures/0.png", "red"),
        lambda: striate.compare_models(folder, folder, table),
        lambda: striate.train("digits", weights=folder, out=out),
    ):
        with pytest.raises(ModelError, match="several labels a picture"):
            refused()
    for more in (
        {"preset": "balanced"},
        {"epochs": 1},
        {"folds": 2},
        {"minutes": 1.0},
        {"resume": True},
        {"log": "mlflow"},
    ):
        with pytest.raises(RecipeError, match="by transfer alone"):
            striate.train(table, labels=NAMES, weights=backbone, out=out, **more)
    for way in (striate.find_lr, striate.prepare_run, striate.sweep):
        with pytest.raises(StriateError, match="by transfer alone"):
            way(table, labels=NAMES, **({"trials": 1} if way is striate.sweep else {}))
    for labels in (NAMES, None):  # a folder with such a run is no place for another
        with pytest.raises(RunError, match="holds a run already"):
            striate.train(table if labels else "digits", labels=labels, weights=backbone, out=folder, watch=Watch())
    with pytest.raises(DataError, match="several labels a picture"):
        striate.load_labels(folder).evaluate("digits", label_column="x")
    with pytest.raises(ModelError, match="one class a picture"):
        striate.load_labels(backbone)
    assert not out.exists()


def test_a_label_that_is_never_there_is_refused_before_anything_is_written(backbone, tmp_path):
    truth = draw_pictures(tmp_path / "pictures", 40)
    truth[:, 1] = False
    write_table(tmp_path / "table.csv", truth)
    with pytest.raises(DataError, match="label green: this label cannot be learnt"):
        striate.train(tmp_path / "table.csv", labels=NAMES, weights=backbone, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_file_of_classes_says_nothing_new_and_one_of_labels_is_refused_by_an_older_striate(backbone, tmp_path):
    header, tensors = read_model(backbone)
    assert header.outputs == "softmax" and header.format == 1
    import safetensors

    with safetensors.safe_open(str(backbone), framework="np") as file:
        assert not {"outputs", "thresholds"} & set(json.loads(file.metadata()["striate"]))
    for wrong in ({"outputs": "sigmoid"}, {"outputs": "sigmoid", "format": 2}, {"format": 2}):
        broken = ModelHeader(net=header.net, classes=header.classes, preprocess=header.preprocess, **wrong)
        save_model(tmp_path / "broken.safetensors", broken, tensors)
        with pytest.raises(ModelError, match="contradicts itself"):
            read_head(tmp_path / "broken.safetensors")


def test_the_commands_say_the_labels_their_probabilities_and_the_report(run, tmp_path):
    pictures = [str(tmp_path / "pictures" / f"{k}.png") for k in range(3)]
    told = [run.model.predict(file) for file in pictures]

    def ask(*words: str) -> list[str]:
        found = CliRunner().invoke(app, [*words])
        assert found.exit_code == 0, found.output
        return found.output.splitlines()

    plain, rows = ask("predict", str(run.folder), *pictures), ask("predict", str(run.folder), *pictures, "--csv")
    assert [line.split("\t")[0] for line in plain] == pictures
    assert rows == ["file,labels", *(f"{one.file},{';'.join(one.labels)}" for one in told)]
    lines = ask("predict", str(run.folder), *pictures, "--json")
    assert [json.loads(line) for line in lines] == [one.as_dict() for one in told]
    everything = ask("predict", str(run.folder), *pictures, "--csv", "--all-probabilities")
    assert everything[0] == "file," + ",".join(NAMES)
    assert everything[1].split(",")[1:] == [f"{p:.6f}" for p in told[0].probabilities.values()]
    scored = json.loads("".join(ask("evaluate", str(run.folder), str(tmp_path / "table.csv"), "--json")))
    assert scored["all_right"] == run.report.all_right and [s["name"] for s in scored["per_label"]] == [*NAMES]
    assert ask("evaluate", str(run.folder), str(tmp_path / "table.csv"))[0].startswith("All labels right on ")
    assert str(run.folder / "report.html") in str(run)
    parts = CliRunner().invoke(app, ["predict", str(run.folder), *pictures, "--out", str(tmp_path / "parts")])
    assert "several labels a picture" in str(parts.exception)
