"""The score of a classifier: scikit-learn is the judge, with printed numbers beside it."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from striate.errors import DataError, ModelError
from striate.metrics import numbers
from striate.metrics.classification import compute_wilson, find_mistakes, score_probabilities


def names(k):
    return tuple(f"class {i}" for i in range(k))


@st.composite
def answers(draw):
    """Probabilities without ties, and labels of which some classes may have none."""
    k, n = draw(st.integers(2, 12)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = rng.dirichlet(np.full(k, draw(st.sampled_from([0.3, 1.0, 5.0]))), n)
    p = (p + 1e-6) / (p + 1e-6).sum(1, keepdims=True)
    return p, rng.choice(draw(st.integers(1, k)), n)


@settings(deadline=None)
@given(answers())
def test_every_metric_is_scikit_learns(case):
    p, y = case
    n, k = p.shape
    r = score_probabilities(p, y, names(k))
    guess, present = p.argmax(1), np.unique(y)
    assert r.accuracy == pytest.approx(sk.accuracy_score(y, guess))
    assert r.loss == pytest.approx(sk.log_loss(y, p, labels=range(k)))
    assert np.array_equal(r.confusion, sk.confusion_matrix(y, guess, labels=range(k)))
    assert r.macro_f1 == pytest.approx(sk.f1_score(y, guess, labels=present, average="macro", zero_division=0))
    recalls = sk.recall_score(y, guess, labels=present, average=None, zero_division=0)
    assert r.balanced_accuracy == pytest.approx(np.mean(recalls))
    if k > 5:
        assert r.top5 == pytest.approx(sk.top_k_accuracy_score(y, p, k=5, labels=range(k)))
    else:
        assert r.top5 == 1
    table = sk.precision_recall_fscore_support(y, guess, labels=range(k), zero_division=np.nan)
    for item, *theirs in zip(r.per_class, *table, strict=True):
        ours = [math.nan if v is None else v for v in (item.precision, item.recall, item.f1, item.support)]
        assert ours == pytest.approx(theirs, nan_ok=True)


@settings(deadline=None)
@given(answers())
def test_the_json_is_standard_json_and_holds_the_names_of_the_design(case):
    p, y = case
    r = score_probabilities(p, y, names(p.shape[1]))
    plain = r.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert {"accuracy", "accuracy_interval", "top5", "macro_f1", "ece", "confusion", "classes", "per_class"} <= set(
        plain
    )
    assert sum(map(sum, plain["confusion"])) == plain["images"] == len(y)
    assert plain["accuracy_interval"][0] <= plain["accuracy"] <= plain["accuracy_interval"][1]


@settings(deadline=None)
@given(answers(), st.randoms())
def test_the_order_of_the_images_does_not_matter(case, random):
    p, y = case
    order = random.sample(range(len(y)), len(y))
    one, other = (
        score_probabilities(p, y, names(p.shape[1])),
        score_probabilities(p[order], y[order], names(p.shape[1])),
    )
    assert one.confusion == other.confusion
    assert (one.ece, one.loss, one.top5) == pytest.approx((other.ece, other.loss, other.top5))


@settings(deadline=None)
@given(answers())
def test_the_calibration_error_is_that_of_a_plain_loop_over_half_open_bins(case):
    p, y = case
    confidence, right = p.max(1), p.argmax(1) == y
    ece = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert score_probabilities(p, y, names(p.shape[1])).ece == pytest.approx(ece)


def test_calibration_by_hand():
    """Bin 10 (0.6, 0.667]: two images at 0.65, one right. Bin 14 (0.867, 0.933]: two at 0.9, both right.

    ECE = 2/4·|0.5 − 0.65| + 2/4·|1 − 0.9| = 0.125
    """
    p = [[0.65, 0.35], [0.65, 0.35], [0.9, 0.1], [0.1, 0.9]]
    r = score_probabilities(p, [0, 1, 0, 1], ("a", "b"))
    assert r.ece == pytest.approx(0.125)
    filled = {i + 1: item for i, item in enumerate(r.bins) if item.images}
    assert {i: (b.images, b.accuracy) for i, b in filled.items()} == {10: (2, 0.5), 14: (2, 1.0)}
    assert (filled[10].low, filled[10].high) == pytest.approx((9 / 15, 10 / 15))
    assert all(b.confidence is None and b.accuracy is None for b in r.bins if not b.images)


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_lower_one():
    bins = score_probabilities([[0.6, 0.4], [0.4, 0.6]], [0, 1], ("a", "b")).bins
    assert [i for i, b in enumerate(bins) if b.images] == [8]


@pytest.mark.parametrize(
    "right, images, low, high",
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_newcombes(right, images, low, high):
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    assert compute_wilson(right, images) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@example((20, 20))
def test_the_interval_solves_wilsons_equation_and_stays_a_share(case):
    """Its ends are the shares from which the measured one is 1.96 standard deviations away."""
    right, n = case
    low, high = compute_wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1
    assert low < high
    for end in (low, high):
        if 0 < end < 1:
            assert abs(right / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-4)
    assert compute_wilson(n - right, n) == pytest.approx((1 - high, 1 - low))


def test_classes_without_images_do_not_enter_the_macro_averages():
    r = score_probabilities([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]], [0, 1, 1], ("a", "b", "never"))
    assert (r.per_class[0].f1, r.per_class[1].f1) == pytest.approx((2 / 3, 2 / 3))
    assert r.macro_f1 == pytest.approx(2 / 3)
    assert r.balanced_accuracy == pytest.approx(0.75)
    assert r.per_class[2] == ("never", None, None, None, 0)


def test_equal_probabilities_go_to_the_first_classes_in_accuracy_and_top5_alike():
    first, last = (
        score_probabilities(np.full((5, 10), 0.1), labels, names(10)) for labels in (np.arange(5), np.arange(5, 10))
    )
    assert (first.accuracy, first.top5) == (0.2, 1)
    assert (last.accuracy, last.top5) == (0, 0)


def test_a_probability_of_zero_for_the_truth_is_a_large_loss_and_not_an_infinite_one():
    assert score_probabilities([[1.0, 0.0]], [1], ("a", "b")).loss == pytest.approx(
        -math.log(np.finfo(np.float32).tiny)
    )


@settings(deadline=None)
@given(answers(), st.integers(0, 20))
def test_the_most_confident_mistakes_are_the_wrong_answers_surest_first(case, count):
    p, y = case
    found = find_mistakes(p, y, count)
    wrong = [i for i in range(len(y)) if p[i].argmax() != y[i]]
    assert [m.index for m in found] == sorted(wrong, key=lambda i: -p[i].max())[:count]
    for m in found:
        assert (m.truth, m.predicted) == (y[m.index], p[m.index].argmax())
        assert (m.probability, m.truth_probability) == (p[m.index].max(), p[m.index, y[m.index]])


def test_the_frequent_confusions_come_most_frequent_first():
    confusion = [[5, 2, 0], [0, 4, 3], [1, 0, 6]]
    pairs = [(t, p) for t in range(3) for p in range(3) for _ in range(confusion[t][p])]
    r = score_probabilities(np.eye(3)[[p for _, p in pairs]], [t for t, _ in pairs], names(3))
    assert r.confusions(9) == ((1, 2, 3), (0, 1, 2), (2, 0, 1))
    assert r.confusions(1) == ((1, 2, 3),)


@pytest.mark.parametrize(
    "p, y, error, text",
    [
        (np.zeros((0, 2)), [], DataError, "nothing that can be scored"),
        ([[0.5, 0.5]], [2], DataError, "labels[0]: no class has this label\n  got   2\n  rule  0 to 1"),
        ([[0.5, 0.5]], [-1], DataError, "no class has this label"),
        ([[0.5, 0.5]], [0, 1], DataError, "each image needs one label"),
        ([[0.5, 0.5]], [0.0], DataError, "1 whole numbers"),
        ([[0.2, 0.3, 0.5]], [0], DataError, "N×2"),
        ([[0.5, 0.5], [math.nan, 1]], [0, 1], ModelError, "probabilities[1]: the model's answer is not a number"),
        ([[3.0, -2.0]], [0], ModelError, "softmax them"),
        ([[0.5, 0.6]], [0], ModelError, "a sum of 1.1"),
    ],
)
def test_what_is_no_evaluation_is_an_error_that_says_why(p, y, error, text):
    with pytest.raises(error) as caught:
        score_probabilities(p, y, ("a", "b"))
    assert text in str(caught.value)


def test_the_terminal_shows_every_class_every_cell_and_the_headline():
    p, y = np.eye(3)[[0, 0, 1, 2, 2, 2]] * 0.9 + 1 / 30, [0, 1, 1, 2, 2, 0]
    r = score_probabilities(p, y, ("cat", "dog", "[bold]owl\x1b[31m"))
    text = str(r)
    low, high = r.accuracy_interval
    assert f"66.67 %  (95 % interval {100 * low:.2f} % to {100 * high:.2f} %)" in text
    for item in r.per_class:
        line = next(row for row in text.splitlines() if row.strip().startswith(item.name[:7]))
        assert line.split()[-4:] == [str(item.support), f"{item.precision:.3f}", f"{item.recall:.3f}", f"{item.f1:.3f}"]
    assert "\x1b" not in text
    cat, dog, owl = (row.split()[1:] for row in text.splitlines()[-3:])
    assert (cat, dog, owl) == (["1", "·", "1"], ["1", "1", "·"], ["·", "·", "2"])


def test_macro_numbers_are_shown_where_accuracy_alone_misleads():
    even = score_probabilities(np.eye(2)[[0, 1]], [0, 1], ("a", "b"))
    odd = score_probabilities(np.eye(2)[[0, 0, 0, 1]], [0, 0, 0, 1], ("a", "b"))
    assert not even.unbalanced and "macro F1" not in str(even)
    assert odd.unbalanced and "macro F1" in str(odd) and "balanced accuracy" in str(odd)


def test_a_thousand_classes_print_as_the_worst_forty():
    k = 1000
    guess = np.arange(k)
    guess[:50] = 50
    text = str(score_probabilities(np.eye(k)[guess], np.arange(k), names(k)))
    assert "the worst 40; 960 classes more not shown" in text
    assert "class 999" not in text and "confusion" not in text


@pytest.mark.parametrize("share, text", [(0.99999, "99.99 %"), (1.0, "100.00 %"), (1e-7, "0.01 %"), (0, "0.00 %")])
def test_only_all_is_a_hundred_percent_and_only_none_is_zero(share, text):
    assert numbers.format_percent(share) == text


def test_classes_without_an_image_are_named_as_not_measured():
    report = score_probabilities([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], [0, 1], ("a", "b", "c"))
    assert report.unmeasured == ("c",) and re.search(r"not measured +c\n", f"{report}\n")
    assert "not measured" not in str(score_probabilities([[0.8, 0.2], [0.1, 0.9]], [0, 1], ("a", "b")))
