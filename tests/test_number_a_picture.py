"""A number instead of a class: the table, the head, the report, the model, and what refuses it."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from typer.testing import CliRunner

import striate
from striate.cli import app
from striate.data.number_labels import find_tenths, make_numbers
from striate.data.reading import make_reading
from striate.data.sources.load import list_source, load_dataset
from striate.engines.answers import NumberScale
from striate.engines.model_file import ModelHeader, read_head, read_model, save_model
from striate.errors import DataError, ModelError, RecipeError, StriateError
from striate.fitting.watch import Watch
from striate.metrics.number_report import find_mean_interval, score_numbers
from striate.report.charts import draw_scatter
from striate.transfer import features
from striate.transfer.head import find_principal_axes
from striate.transfer.ridge import cut_folds, fit_ridge
from tests.answering_service import ask_service, infer_picture, running_service
from tests.small_backbone import save_backbone


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(features.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))


def draw_pictures(folder, count: int, seed: int = 0) -> np.ndarray:
    """PNG files of 32×32, the redder the larger their number, from 10 to 30."""
    draw = np.random.default_rng(seed)
    values = draw.uniform(10, 30, count).round(2)
    folder.mkdir()
    for k, value in enumerate(values):
        x = draw.normal(80, 8, (32, 32, 3))
        x[..., 0] += 5 * (value - 10)
        Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(folder / f"{k}.png")
    return values


def write_table(path, cells, header="file,price"):
    path.write_text("\n".join([header, *(f"pictures/{k}.png,{cell}" for k, cell in enumerate(cells))]) + "\n")
    return path


@pytest.fixture
def backbone(tmp_path):
    return save_backbone(tmp_path)


def test_the_numbers_are_those_of_the_column_and_each_split_has_some_of_every_tenth(tmp_path):
    values = draw_pictures(tmp_path / "pictures", 100)
    table = write_table(tmp_path / "table.csv", values)
    data = load_dataset(table, reading=make_reading({"number": "price"}))
    assert data.test is not None and (len(data.train), len(data.valid), len(data.test)) == (80, 10, 10)
    for part in (data.train, data.valid, data.test):
        order = [int(file.split("/")[-1].split(".")[0]) for file in part.files]
        np.testing.assert_array_equal(make_numbers(part), values[order])
    low, high = np.quantile(values, (0.1, 0.9))
    assert make_numbers(data.test).min() <= low and make_numbers(data.test).max() >= high
    np.testing.assert_array_equal(find_tenths([f"={v}" for v in (5.0, -1.0, 30.0)]), [1, 0, 2])
    assert find_tenths(["=1.0", "cat"]) is None


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("cheap", "line 13: the column price holds something else than a number here\n  got   cheap\n"),
        ("", "line 13: the column price holds no number here\n  got   nothing\n"),
        ("NaN", "line 13: the column price holds no number here\n  got   NaN\n"),
        ("inf", "line 13: the column price holds something else than a number here\n  got   inf\n"),
        ("1_000", "holds something else than a number here\n  got   1_000\n"),
        ("12,5", "13: this row has 3 cells"),
    ],
)
def test_a_cell_that_is_no_number_is_refused_with_its_line_and_column(tmp_path, cell, words):
    draw_pictures(tmp_path / "pictures", 12)
    table = write_table(tmp_path / "table.csv", [*range(11), cell])
    with pytest.raises(DataError) as refused:
        list_source(table, make_reading({"number": "price"}))
    assert words in str(refused.value) and "table.csv" in str(refused.value)


def test_what_holds_no_numbers_is_refused(tmp_path, backbone):
    draw_pictures(tmp_path / "pictures", 12)
    table = write_table(tmp_path / "table.csv", [7] * 12)
    for reading, words in (
        ({"number": "cost"}, "there is no column 'cost'\n  hint  --number: "),
        ({"number": "price", "labels": "price"}, "number and labels contradict each other"),
        ({"number": "price", "label_column": "price"}, "contradict each other"),
    ):
        with pytest.raises(DataError) as refused:
            list_source(table, make_reading(reading))
        assert words in str(refused.value)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name / "1.png")
    for source in ("digits", tmp_path / "photos"):
        with pytest.raises(DataError, match="read from a table"):
            list_source(source, make_reading({"number": "price"}))
    for cells, words in (([7] * 12, "all numbers are the same"), (range(12), "too few pictures")):
        with pytest.raises(DataError, match=words):
            striate.train(
                write_table(tmp_path / "table.csv", cells), number="price", weights=backbone, out=tmp_path / "run"
            )
    assert not (tmp_path / "run").exists()


def test_a_ridge_head_is_scikit_learns_and_what_it_says_of_unseen_rows_is_what_a_head_without_them_says():
    draw = np.random.default_rng(0)
    for count, wide in ((90, 12), (40, 60)):  # more images than features, and fewer
        x = draw.normal(size=(count, wide)).astype(np.float32)
        values = x[:, 0] - 2 * x[:, 1] + draw.normal(0, 1, count) + 5
        groups = np.repeat(np.arange(count // 2), 2)
        head = fit_ridge(x, values, 3, groups)
        axes = find_principal_axes(x)
        theirs = Ridge(alpha=count * head.strength).fit(axes.rows, values)
        np.testing.assert_allclose(head.linear(x)[:, 0], theirs.predict(axes.rows), atol=2e-3)
        parts = cut_folds(count, 3, groups)
        assert sorted(np.concatenate(parts)) == list(range(count))
        for part in parts:
            assert set(groups[part]).isdisjoint(groups[np.setdiff1d(np.arange(count), part)])
            rest = np.setdiff1d(np.arange(count), part)
            without = Ridge(alpha=count * head.strength).fit(axes.rows[rest], values[rest])
            np.testing.assert_allclose(head.held[part], without.predict(axes.rows[part]), atol=2e-3)
        assert min(error for _, error in head.tried) == dict(head.tried)[head.strength]


def test_the_reports_figures_are_scikit_learns_and_scipys():
    draw = np.random.default_rng(0)
    truth = draw.normal(50, 10, 80)
    answers = truth + draw.normal(1, 4, 80)
    files = tuple(f"{k}.png" for k in range(80))
    report = score_numbers(answers, truth, files, name="price", mean=48.0, margin=6.0)
    assert report.error == pytest.approx(mean_absolute_error(truth, answers))
    assert report.rmse == pytest.approx(root_mean_squared_error(truth, answers))
    assert report.r2 == pytest.approx(r2_score(truth, answers))
    assert report.guess == pytest.approx(mean_absolute_error(truth, np.full(80, 48.0)))
    assert report.within == (np.abs(answers - truth) <= 6).sum()
    from scipy.stats import bootstrap

    size = np.abs(answers - truth)
    theirs = bootstrap((size,), np.mean, rng=np.random.default_rng(0), method="BCa").confidence_interval
    np.testing.assert_allclose(report.error_interval, theirs, rtol=0.05)
    assert report.worst[0][0] == files[size.argmax()] and len(report.points) == 80
    assert find_mean_interval(np.array([2.0])) == (0, 4)
    same = score_numbers(np.array([1.0, 2]), np.array([3.0, 3]), ("a", "b"), name="x", mean=3.0, margin=0.0)
    assert same.r2 is None and "learnt nothing" in str(same)
    json.dumps(same.as_dict(), allow_nan=False)


@pytest.fixture
def run(backbone, tmp_path):
    write_table(tmp_path / "table.csv", draw_pictures(tmp_path / "pictures", 150))
    return striate.train(tmp_path / "table.csv", number="price", weights=backbone, out=tmp_path / "run", watch=Watch())


def test_a_run_learns_the_number_and_answers_alike_everywhere(run, tmp_path, backbone):
    assert run.split == "test" and run.report.r2 > 0.9 and run.report.error < 0.3 * run.report.guess
    kept = json.loads((run.folder / "report.json").read_text())
    html = (run.folder / "report.html").read_text()
    assert html.index("Off by ") < html.index("Mean absolute error") < html.index("Answer against truth")
    assert html.count("<circle") == run.report.images and "<script" not in html
    assert kept["error"] == run.report.error and str(run.folder / "model.safetensors") in str(run)
    model = striate.load_number(run.folder)
    assert model.name == "price" and 10 <= model.number.low < model.number.high <= 30
    again = model.evaluate(tmp_path / "table.csv")  # the test split that was held back
    assert again.as_dict() | {"known": None} == run.report.as_dict()
    files = [tmp_path / "pictures" / f"{k}.png" for k in range(5)]
    told = list(model.predict_files([*files, tmp_path / "none.png"]))
    assert told.pop().file == str(tmp_path / "none.png")
    x = model._model.standardised(np.stack([model.prepared(file) for file in files]))
    import torch

    theirs = model._model.torch()(torch.from_numpy(x)).detach().numpy()[:, 0]
    np.testing.assert_allclose([one.number for one in told], theirs, rtol=1e-5)
    assert model.predict(files[0]).number == told[0].number and told[0].margin == model.number.margin
    check_refusals(run, tmp_path, backbone)
    check_commands(run, tmp_path, files)
    check_way_out(run, tmp_path, files)


def test_a_number_that_was_written_wrong_is_found_and_named(backbone, tmp_path):
    values = draw_pictures(tmp_path / "pictures", 150)
    values[[7, 70]] = (29, 11) if values[7] < 20 else (11, 29)
    values[7] *= 100  # a point that was forgotten
    write_table(tmp_path / "table.csv", values)
    run = striate.train(tmp_path / "table.csv", number="price", weights=backbone, out=tmp_path / "run", watch=Watch())
    split = load_dataset(tmp_path / "table.csv", reading=make_reading({"number": "price"}))
    assert split.test is not None and "pictures/7.png" not in split.test.files
    assert run.doubts[0].file == "pictures/7.png" and run.doubts[0].given == values[7]
    assert "Numbers that are likely wrong" in (run.folder / "report.html").read_text()


def test_a_point_of_the_scatter_picture_lies_where_its_numbers_say():
    html = draw_scatter([(0.0, 0.0), (10.0, 5.0), (4.0, 10.0)], "price", 2.0)
    points = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html)]
    left, right = points[0][0], points[1][0]
    bottom, top = points[0][1], points[2][1]
    assert points[1][1] == pytest.approx((bottom + top) / 2) and points[2][0] == pytest.approx(
        left + 0.4 * (right - left)
    )
    [ideal] = re.findall(r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="ideal">', html)
    assert tuple(map(float, ideal)) == (left, bottom, right, top)


def check_refusals(run, tmp_path, backbone) -> None:
    """Nothing that works with classes or labels takes the model, and no other way learns a number."""
    table, folder, out = tmp_path / "table.csv", run.folder, tmp_path / "other"
    for refused in (
        lambda: striate.load(folder),
        lambda: striate.load_labels(folder),
        lambda: striate.calibrate(folder, table),
        lambda: striate.correct_label(folder, "pictures/0.png", "3"),
        lambda: striate.compare_models(folder, folder, table),
        lambda: striate.train("digits", weights=folder, out=out),
    ):
        with pytest.raises(ModelError, match="this model gives a number a picture"):
            refused()
    with pytest.raises(ModelError, match="one class a picture, and not a number"):
        striate.load_number(backbone)
    for more in ({"preset": "balanced"}, {"epochs": 1}, {"folds": 2}, {"resume": True}):
        with pytest.raises(RecipeError, match="a number a picture: that is learnt by transfer alone"):
            striate.train(table, number="price", weights=backbone, out=out, **more)
    for way in (striate.find_lr, striate.prepare_run, striate.sweep):
        with pytest.raises(StriateError, match="by transfer alone"):
            way(table, number="price", **({"trials": 1} if way is striate.sweep else {}))
    with pytest.raises(DataError, match="this model gives a number a picture"):
        striate.load_number(folder).evaluate("digits", label_column="x")
    assert not out.exists()


def check_way_out(run, tmp_path, files) -> None:
    """The exported file and the service answer as the model does; a form that there is not yet is refused by name."""
    model, file = run.model, tmp_path / "price.onnx"
    found = CliRunner().invoke(app, ["export", str(run.folder), "-o", str(file), "--data", str(tmp_path / "table.csv")])
    assert (
        found.exit_code == 0 and "answers within" in found.output and "the same files at their own size" in found.output
    )
    exported = striate.load_number(file)
    assert (exported.name, exported.number) == (model.name, model.number)
    told = [exported.predict(one).number for one in files]
    np.testing.assert_allclose(told, [model.predict(one).number for one in files], rtol=1e-5)
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    assert [output.name for output in session.get_outputs()] == ["number"]
    bare = session.run(None, {"images": np.asarray(Image.open(files[0]))[None]})  # with nothing but the file
    np.testing.assert_allclose(bare[0], [[told[0]]], rtol=1e-5)
    with pytest.raises(ModelError, match="gives a number a picture, and this works with one class"):
        striate.load(file)
    with pytest.raises(ModelError, match="a number a picture: .*32-bit floats alone, and not as page"):
        striate.export(model, tmp_path / "other.html")
    with pytest.raises(ModelError, match="an exported file only predicts"):
        striate.export(exported, tmp_path / "other.onnx")
    with running_service(file) as port:
        body, about = ask_service(port, files[0].read_bytes()), ask_service(port)
        found = infer_picture(port, file.stem, files[0].read_bytes())
    assert found == {"number": ([1], [pytest.approx(body["number"])])}
    assert body["number"] == pytest.approx(told[0]) and body["margin"] == model.number.margin
    assert about["outputs"] == "identity" and about["classes"] == ["price"] and about["number"]["mean"]


def check_commands(run, tmp_path, files) -> None:
    def ask(*words: str) -> list[str]:
        found = CliRunner().invoke(app, [*map(str, words)])
        assert found.exit_code == 0, found.output
        return found.output.splitlines()

    told = [run.model.predict(file) for file in files]
    lines = [json.loads(line) for line in ask("predict", run.folder, *files, "--json")]
    assert lines == [one.as_dict() for one in told]
    rows = ask("predict", run.folder, *files, "--csv")
    assert rows == ["file,price", *(f"{one.file},{one.number:.9g}" for one in told)]
    assert ask("predict", run.folder, files[0])[0].split("\t") == [str(files[0]), f"{told[0].number:.6g}",
                                                                  f"±{told[0].margin:.3g}"]  # fmt: skip
    assert ask("predict", run.folder, files[0], "--csv", "--all-probabilities")[0] == "file,price,margin"
    scored = json.loads("".join(ask("evaluate", run.folder, tmp_path / "table.csv", "--json")))
    assert scored["error"] == run.report.error
    assert ask("evaluate", run.folder, tmp_path / "table.csv")[0].startswith("Off by ")
    for words in (["predict", "--csv", "--kaggle", files[0]], ["evaluate", "--mistakes", "a.csv", files[0]]):
        refused = CliRunner().invoke(app, [words[0], str(run.folder), *map(str, words[1:])])
        assert "this is not there for a number a picture" in str(refused.exception)


def test_a_header_that_contradicts_itself_is_refused(backbone, tmp_path):
    header, tensors = read_model(backbone)
    scale = NumberScale(mean=1.0, deviation=1.0, low=0.0, high=2.0, margin=0.5)
    for wrong in (
        {"outputs": "identity", "format": 3},
        {"outputs": "identity", "format": 3, "number": scale},  # the net has seven outputs
    ):
        broken = ModelHeader(net=header.net, classes=header.classes, preprocess=header.preprocess, **wrong)
        save_model(tmp_path / "broken.safetensors", broken, tensors)
        with pytest.raises(ModelError, match="contradicts itself"):
            read_head(tmp_path / "broken.safetensors")
