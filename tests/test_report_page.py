"""The report page: it holds every number, opens alone, and no name in the data can break out of its text."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from striate.architecture.zoo import build
from striate.metrics.classification import find_mistakes, score_probabilities
from striate.report import pictures
from striate.report.charts import choose_ticks
from striate.report.markup import tag
from striate.report.run_page import Journey, MistakePicture, ReportPage, render_report
from striate.summaries.summary import summarise_net

VOID = {"meta", "link", "img", "br"}
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Reader(HTMLParser):
    """Every element with its attributes and the text in it; fails where a tag is not closed in its turn."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def all(self, name, style=""):
        found = [e for e in self.elements if e[0] == name and style in (e[1].get("class") or "").split(" ") + [""]]
        return [(attributes, "".join(text).replace("\N{NO-BREAK SPACE}", " ")) for _, attributes, text in found]


def example(k=10, channels=1, images=200, split="test", names=None, **more):
    """A report page on made-up answers, and what went into it."""
    rng = np.random.default_rng(k)
    y = np.concatenate([np.arange(k), rng.integers(0, k, images - k)])
    z = rng.normal(size=(images, k))
    z[np.arange(images), y] += 2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    report = score_probabilities(p, y, names or tuple(f"kind {i}" for i in range(k)))
    net = build("lenet5", classes=k, input=(channels, 32, 32))
    x = rng.integers(0, 256, (images, 32, 32, channels), dtype=np.uint8)
    wrong = find_mistakes(p, y, 8)
    maps = [(step.path, rng.normal(size=step.y)) for step in net.steps]
    given = {
        "run": "photos-1",
        "dataset": "photos",
        "summary": summarise_net(net),
        "report": report,
        "report_split": split,
        "recipe": {"epochs": 3, "optimizer": "adamw", "mean": [0.5]},
        "epochs": [
            {"epoch": e, "loss": 2 / e, "acc": 1 - 0.5 / e, "seconds": 2}
            | {"valid_loss": 2.5 / e, "valid_acc": 0.8 - 0.3 / e}
            for e in (1, 2, 3)
        ],
        "mistakes": [MistakePicture(x[m.index], m.truth, m.predicted, m.probability, f"{m.index}.png") for m in wrong],
        "filters": rng.normal(size=(6, channels, 5, 5)),
        "maps": [Journey(x[i], maps, f"picture {i}") for i in range(3)],
        "skipped": [("broken.jpg", "truncated")],
        "versions": {"striate": "0.1.0"},
    }  # fmt: skip
    return ReportPage(**(given | more))


def shown(given):
    html = render_report(given)
    return html, Reader(html)


@pytest.mark.parametrize("k, channels", [(2, 1), (2, 3), (10, 1), (10, 3), (25, 3)])
def test_the_page_holds_every_number_of_the_report(k, channels):
    given = example(k, channels)
    html, read = shown(given)
    r, (body,) = given.report, [text for _, text in read.all("body")]
    low, high = r.accuracy_interval
    assert f"{100 * r.accuracy:.2f}%" in read.all("p", "result")[0][1]
    assert f"95 % interval {100 * low:.2f} % to {100 * high:.2f} %" in body
    for value in (f"{r.loss:.4f}", f"{100 * r.ece:.2f} %", f"{given.summary.params:,}", f"{given.summary.macs:,}"):
        assert value in body

    cells = [text for _, text in read.all("g", "right") + read.all("g", "wrong")]
    assert len(cells) == k * k
    for t, truth in enumerate(r.classes):
        for p, predicted in enumerate(r.classes):
            what = f"{truth} correct" if t == p else f"{truth} predicted as {predicted}"
            (cell,) = [text for text in cells if text.startswith(f"{what}: ")]
            count = r.confusion[t][p]
            assert re.match(rf"{count} images?, ", cell.removeprefix(f"{what}: ")) and cell.endswith(str(count))

    rows = [text for _, text in read.all("tr")]
    for item in r.per_class:
        numbers = "".join("–" if v is None else f"{v:.3f}" for v in (item.precision, item.recall, item.f1))
        assert f"{item.name}{item.support}{numbers}" in rows


def test_a_hundred_classes_show_each_cell_that_holds_an_image():
    given = example(100, images=400)
    html, read = shown(given)
    filled = sum(count > 0 for row in given.report.confusion for count in row)
    assert len(read.all("g", "right") + read.all("g", "wrong")) == filled
    table = [text for _, text in read.all("tr")]
    assert all(any(row.startswith(f"{item.name}{item.support}") for row in table) for item in given.report.per_class)


def test_very_many_classes_show_the_matrix_as_a_picture_with_a_pixel_a_cell():
    given = example(150, images=300)
    _, read = shown(given)
    (source,) = [a["src"] for a, _ in read.all("img") if a["alt"].startswith("confusion")]
    pixels = np.asarray(Image.open(BytesIO(b64decode(source.split(",")[1]))))
    assert np.array_equal(pixels[..., 3] > 0, np.array(given.report.confusion) > 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_page_needs_nothing_but_itself(channels):
    html, read = shown(example(channels=channels))
    for name, attributes, _ in read.elements:
        assert name not in ("script", "iframe", "object", "embed", "base", "form")
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in ("src", "href", "srcset", "action", "data", "xlink:href"):
                assert value.startswith("data:")
    assert "@import" not in html and "url(" not in html
    policy = next(a["content"] for a, _ in read.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert len(html.encode()) < 1_500_000


def test_every_picture_on_the_page_can_be_read():
    given = example(channels=3)
    _, read = shown(given)
    sources = [a["src"] for a, _ in read.all("img")]
    assert len(sources) > len(given.mistakes) + len(given.filters)
    for source in sources:
        assert source.startswith("data:image/png;base64,")
        Image.open(BytesIO(b64decode(source.split(",")[1]))).load()


def test_names_from_the_data_stay_text():
    given = example(
        2,
        names=(HOSTILE, "b"),
        run=HOSTILE,
        dataset=HOSTILE,
        recipe={HOSTILE: HOSTILE},
        notes=[HOSTILE],
        skipped=[(HOSTILE, HOSTILE)],
        versions={HOSTILE: HOSTILE},
        maps=[Journey(np.zeros((4, 4, 1)), [(HOSTILE, np.ones((1, 2, 2))), (HOSTILE, np.ones(3))], HOSTILE)],
        mistakes=[MistakePicture(np.zeros((4, 4, 3)), 0, 1, 0.9, HOSTILE)],
    )
    html, read = shown(given)
    assert read.all("script") == []
    assert not [a for _, a, _ in read.elements if "onerror" in a]
    assert html.count("&lt;script&gt;alert(1)") >= 12
    assert read.all("h1")[0][1] == HOSTILE
    assert read.all("span", "file")[0][1] == HOSTILE


@settings(deadline=None)
@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_comes_back_out_of_a_tag_as_it_went_in(text):
    read = Reader(tag("p", text, title=text))
    ((_, attributes, raw),) = read.elements
    kept = "".join("\ufffd" if ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 else c for c in text)
    assert "".join(raw) == attributes["title"] == kept


def test_a_file_name_that_is_no_unicode_can_still_be_written():
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    html, read = shown(example(skipped=[(name, "no image")]))
    assert "caf\ufffd.jpg" in html.encode("utf-8").decode("utf-8")


def test_a_report_on_validation_images_says_so_and_says_that_it_flatters():
    test, valid = (shown(example(split=split))[1].all("body")[0][1] for split in ("test", "valid"))
    assert "of 200 test images" in test and "There is no test split" not in test
    assert "of 200 validation images" in valid and "There is no test split" in valid
    assert not re.search(r"\btest images", valid)


def test_parts_without_content_are_left_out():
    empty = {"epochs": (), "mistakes": (), "filters": None, "maps": (), "skipped": (), "recipe": {}, "versions": {}}
    _, read = shown(example(**empty))
    titles = [text for _, text in read.all("h2")]
    todo = "What to do, what is worth most first"
    assert titles == [todo, "Confusion", "Class by class", "Calibration", "The network"]
    _, read = shown(example(epochs=[{"epoch": 1, "loss": 2.0, "acc": 0.5, "valid_loss": None, "valid_acc": None}]))
    assert "validation images" not in read.all("main")[0][1].lower().replace("no validation images", "")


def test_a_loss_that_is_not_finite_is_a_gap_in_the_curve():
    rows = [{"epoch": e, "loss": loss, "acc": 0.5} for e, loss in ((1, 2.0), (2, float("nan")), (3, float("inf")))]
    html, read = shown(example(epochs=rows))
    assert [text for _, text in read.all("circle") if text.startswith("Cross-entropy")] == [
        "Cross-entropy (nats per image), training, epoch 1: 2"
    ]
    assert "nan" not in html.split("</style>", 1)[1].split("Confusion")[0]


def test_the_curves_carry_every_epoch_and_mark_the_best_one():
    given = example()
    _, read = shown(given)
    dots = [text for _, text in read.all("circle")]
    for row in given.epochs:
        assert f"Cross-entropy (nats per image), validation, epoch {row['epoch']}: {row['valid_loss']:.4g}" in dots
        assert f"Accuracy, training, epoch {row['epoch']}: {100 * row['acc']:.4g}%" in dots
    assert [text for _, text in read.all("line", "best")] == ["best epoch: 3"] * 2


STRENGTHS = [
    {"strength": 0.3, "loss": 0.52, "cost": 0.522, "accuracy": 0.81},
    {"strength": 0.1, "loss": 0.41, "cost": 0.413, "accuracy": 0.875},
    {"strength": 0.03, "loss": 0.44, "cost": 0.446, "accuracy": 0.89},
]
HEAD = {"epoch": 0, "loss": 0.41, "acc": 0.875, "seconds": 1, "valid_loss": 0.4, "valid_acc": 0.9}


def test_a_transfer_shows_each_strength_that_was_cross_validated_and_no_epoch_of_its_head():
    _, read = shown(example(epochs=[HEAD], strengths=STRENGTHS))
    dots = [text for _, text in read.all("circle") if "%" in text or "nats" in text]
    assert sorted(dots) == sorted(
        [f"Cross-entropy (nats per image): {item['loss']:g}" for item in STRENGTHS]
        + [f"Accuracy: {100 * item['accuracy']:g}%" for item in STRENGTHS]
    )
    assert [text for _, text in read.all("line", "best")] == ["chosen"] * 2
    words = read.all("header")[0][1] + read.all("main")[0][1]
    assert "Chosen: 0.1, at the dotted line, with loss 0.4100 and accuracy 87.50 %." in words
    assert "a new head on published weights, 1 s" in words and "1 epoch" not in words


def test_the_fine_tuning_of_a_transfer_has_its_epochs_beside_its_head():
    tuned = [HEAD | {"epoch": epoch, "valid_acc": acc} for epoch, acc in ((1, 0.85), (2, 0.95))]
    _, read = shown(example(epochs=[HEAD, *tuned], strengths=STRENGTHS))
    titles = [text for _, text in read.all("h2")]
    assert titles[1:3] == ["The head, cross-validated", "Fine-tuning"]
    words = read.all("header")[0][1] + read.all("main")[0][1]
    assert "fine-tuned for 2 epochs" in words and "Highest validation accuracy in epoch 2" in words
    _, read = shown(example(epochs=[HEAD | {"valid_acc": 0.99}, *tuned]))
    words = read.all("main")[0][1]
    assert "No epoch of fine-tuning was better" in words and "Loss 0.4100 and accuracy 87.50 %" in words


def test_the_page_begins_with_words_and_says_what_each_figure_is():
    given = example(images=50)
    _, read = shown(given)
    header = read.all("header")[0][1]
    right = int(np.trace(np.array(given.report.confusion)))
    assert header.index(f"Right on {right} of 50 new pictures") < header.index("95 % interval")
    assert len(read.all("dd", "meaning")) == 5
    _, read = shown(example(split="valid"))
    assert "there is no test split, and these have chosen the epoch too" in read.all("header")[0][1]


def test_a_deep_net_shows_some_layers_of_each_image_and_says_how_many_are_not():
    layers = [(f"layer{i}", np.ones((64, 40, 40))) for i in range(150)]
    html, read = shown(example(maps=[Journey(np.zeros((300, 200, 3)), layers)] * 4))
    assert "126 of 150 layers are not shown." in html
    assert "layer0, channel" in html and "layer149, channel" in html
    assert len(html) < 1_500_000


@settings(deadline=None)
@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_axis_ticks_are_even_and_enclose_the_values(one, other):
    low, high = min(one, other), max(one, other)
    ticks = choose_ticks(low, high)
    steps = np.diff(ticks)
    assert ticks[0] <= low + 1e-6 * max(1, high) and ticks[-1] >= high - 1e-6 * max(1, high)
    assert 1 <= len(steps) <= 8 and np.allclose(steps, steps[0])


@settings(deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]))))
def test_a_picture_comes_back_from_its_png(picture):
    back = np.asarray(Image.open(BytesIO(pictures.encode_png(picture)))).reshape(picture.shape)
    assert np.array_equal(back, picture)


def test_filters_with_three_channels_keep_their_colours_and_zero_is_grey():
    w = np.zeros((1, 3, 1, 3))
    w[0, :, 0, 0], w[0, 0, 0, 1] = (2, -2, 0), 1
    assert pictures.paint_filters(w)[0, 0].tolist() == [[255, 0, 128], [191, 128, 128], [128, 128, 128]]


def test_filters_with_one_channel_are_blue_below_and_orange_above_zero():
    (row,) = pictures.paint_filters(np.array([[[[-1.0, 0, 1]]]]))[0]
    assert row[0, 2] > row[0, 0] and row[2, 0] > row[2, 2] and np.ptp(row[1].astype(int)) < 8
    stacked = pictures.paint_filters(np.ones((4, 5, 3, 2)))
    assert stacked.shape == (4, 5 * 4 - 1, 2, 3)


@settings(deadline=None)
@given(hnp.arrays(np.float32, (2, 3, 3), elements=st.floats(width=32)))
def test_feature_maps_share_one_scale_and_survive_any_float(values):
    shares = pictures.scale_to_unit(values)
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
    assert shares.shape == values.shape and shares.min() >= 0 and shares.max() <= 1
    order = np.argsort(finite, axis=None, kind="stable")
    assert (np.diff(shares.reshape(-1)[order]) >= -1e-12).all()
    if (finite < 0).any():
        assert np.allclose(shares[finite == 0], 0.5)
    assert pictures.paint_maps(values).dtype == np.uint8


def test_what_is_not_finite_is_drawn_as_zero():
    assert pictures.scale_to_unit([np.nan, 1, np.inf, 2, -np.inf]).tolist() == [0, 0.5, 0, 1, 0]


def test_pictures_are_tiled_in_rows_with_a_gap_and_enlarged_by_squares():
    sheet = pictures.tile_pictures([np.full((2, 2, 1), i) for i in (1, 2, 3)], columns=2)
    assert sheet[..., 0].tolist() == [
        [1, 1, 255, 2, 2],
        [1, 1, 255, 2, 2],
        [255] * 5,
        [3, 3, 255, 255, 255],
        [3, 3, 255, 255, 255],
    ]
    assert np.array_equal(pictures.enlarge_picture(sheet, 3)[1::3, 1::3], sheet)


@pytest.mark.parametrize("shape, fits", [((400, 533, 3), (96, 128, 3)), ((1, 900, 1), (1, 128, 1)), ((28, 28, 1),) * 2])
def test_large_pictures_are_reduced_and_small_ones_kept(shape, fits):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    small = pictures.reduce_picture(picture, 128)
    assert small.shape == fits
    assert abs(small.mean() - picture.mean()) < 2


def test_a_filter_by_hand_is_a_picture_on_the_page_of_a_run_and_absent_without_one():
    from striate.inside.filters_by_hand import draw_filtered, filter_image
    from striate.report.pictures import encode_data_uri
    from striate.report.run_page import render_hand_filter

    made = draw_filtered(filter_image(np.eye(16, dtype=np.uint8)[..., None] * 200, "sobel"))
    [(attributes, _)] = Reader(render_hand_filter(made)).all("img", "by-hand")
    assert attributes["src"] == encode_data_uri(made)
    assert render_hand_filter(None) is None
