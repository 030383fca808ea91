"""Likely label errors by confident learning, on data whose errors were put in, and against the paper's definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from striate.data.check.label_errors import (
    CHANCE_ODDS,
    LabelError,
    beats_chance,
    count_confident_joint,
    estimate_counts,
    find_doubts,
    find_label_errors,
    make_folds,
)
from striate.errors import DataError
from striate.transfer.head import predict_out_of_fold


@st.composite
def cases(draw):
    n, classes = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.dirichlet(np.ones(classes) * draw(st.sampled_from([0.2, 1.0, 5.0])), n), rng.integers(0, classes, n)


@given(cases())
@settings(deadline=None)
def test_the_confident_joint_is_the_papers(case):
    """Equations 1 and 2 of Northcutt et al. 2021, written out with sets."""
    p, y = case
    thresholds = {j: np.mean([p[i][j] for i in range(len(y)) if y[i] == j]) for j in set(y.tolist())}
    expected = np.zeros((p.shape[1], p.shape[1]), int)
    for i in range(len(y)):
        candidates = [j for j, t in thresholds.items() if p[i][j] >= t - 1e-9]
        if candidates:
            expected[y[i], max(candidates, key=lambda j, i=i: (p[i][j], -j))] += 1
    np.testing.assert_array_equal(count_confident_joint(p, y), expected)


@given(cases())
@settings(deadline=None)
def test_the_estimated_counts_are_the_joints_shares_of_each_labels_images(case):
    """Equation 3, before it is made whole: each count is within one of it, and each label's images are all counted."""
    p, y = case
    joint, images = count_confident_joint(p, y), np.bincount(y, minlength=p.shape[1])
    counts = estimate_counts(joint, images)
    own = np.maximum(joint, np.eye(len(joint), dtype=int))
    assert np.abs(counts - own / own.sum(1, keepdims=True) * images[:, None]).max() < 1
    np.testing.assert_array_equal(counts.sum(1), images)
    assert (counts.diagonal()[images > 0] >= 0).all() and (counts >= 0).all()


@given(cases())
@settings(deadline=None)
def test_label_errors_are_those_of_both_prunings(case):
    """The paper's methods 3 and 4, written out with sorted lists, and method 5, which is both."""
    p, y = case
    counts, n = estimate_counts(count_confident_joint(p, y), np.bincount(y, minlength=p.shape[1])), len(y)
    by_class, by_rate = set(), set()
    for i in range(len(counts)):
        own = [row for row in range(n) if y[row] == i]
        by_class |= set(sorted(own, key=lambda row, i=i: p[row][i])[: len(own) - counts[i][i]])
        for j in range(len(counts)):
            if i != j:
                by_rate |= set(sorted(own, key=lambda row, i=i, j=j: p[row][i] - p[row][j])[: counts[i][j]])
    expected = {row for row in by_class & by_rate if max(p[row]) >= CHANCE_ODDS * p[row][y[row]]}
    found = find_label_errors(p, y)
    assert {item.row for item in found} == expected
    assert [item.confidence for item in found] == sorted(p[i][y[i]] for i in expected)
    for item in found:
        best = int(p[item.row].argmax())
        assert item == LabelError(item.row, y[item.row], best, p[item.row][y[item.row]], p[item.row][best])


def test_a_case_by_hand():
    """Labels 0 0 0 0 1 1 1; thresholds 0.5875 and 0.6. Confidently: rows 0, 1 and 2 are 0, row 3 is 1, rows 4 and 5 are
    1, row 6 is 0. So of the four 0s one is 1, of the three 1s one is 0; the least self-confident are rows 3 and 6."""
    first = np.array([0.9, 0.7, 0.6, 0.15, 0.1, 0.2, 0.9])
    p, y = np.stack([first, 1 - first], 1), np.array([0, 0, 0, 0, 1, 1, 1])
    assert count_confident_joint(p, y).tolist() == [[3, 1], [1, 2]]
    assert estimate_counts(count_confident_joint(p, y), np.array([4, 3])).tolist() == [[3, 1], [1, 2]]
    assert [(item.row, item.suggested) for item in find_label_errors(p, y)] == [(6, 0), (3, 1)]


def test_52_against_48_percent_is_no_confident_disagreement():
    y = np.arange(200) % 2
    p = np.where((np.arange(200) % 5 < 2)[:, None], np.eye(2)[1 - y] * 0.04 + 0.48, np.eye(2)[y] * 0.04 + 0.48)
    assert count_confident_joint(p, y).trace() == 120 and find_label_errors(p, y) == []


def test_networks_that_know_no_more_than_chance_doubt_no_label():
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 200)
    p = draw.dirichlet((0.3, 0.3), 200)
    assert len(find_label_errors(p, y)) > 40
    found = find_doubts(p, y, [str(k) for k in range(200)], ("a", "b"))
    assert found.chance and not found.errors and "no better than chance" in str(found)
    always = np.tile([0.9, 0.1], (200, 1))  # right on nine in ten, and knows nothing
    assert not beats_chance(always, (np.arange(200) % 10 == 0).astype(int))
    p[np.arange(200), y] += 1
    assert not find_doubts(p / p.sum(1, keepdims=True), y, [""] * 200, ("a", "b")).chance


def test_of_1437_digits_with_363_wrong_labels_nine_in_ten_are_found_and_nine_in_ten_are_right():
    """Cross-validation's linear heads on pixels, five folds; precision and recall are the means of four drawings."""
    x, truth = load_digits(return_X_y=True)
    x, truth, measured = x[:1437].astype(np.float32), truth[:1437], []
    for seed in range(4):
        draw, wrong = np.random.default_rng(seed), np.zeros(1437, bool)
        wrong[draw.choice(1437, 363, replace=False)] = True
        y = np.where(wrong, (truth + draw.integers(1, 10, 1437)) % 10, truth)
        p = predict_out_of_fold(x, y, 10, 0.03, make_folds(y, 5))
        rows = [item.row for item in find_label_errors(p, y)]
        measured.append((wrong[rows].mean(), wrong[rows].sum() / 363))
    precision, recall = np.mean(measured, 0)
    print(f"precision {precision:.3f}, recall {recall:.3f}")
    assert precision > 0.914 and recall > 0.89


def test_labels_that_were_exchanged_are_found_first():
    """1,797 digits, one label in twenty wrong; probabilities from five folds of 10 nearest neighbours."""
    x, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(truth), len(truth) // 20, replace=False)
    y = truth.copy()
    y[wrong] = (truth[wrong] + rng.integers(1, 10, len(wrong))) % 10
    p = np.zeros((len(y), 10))
    for train, held in make_folds(y, 5):
        model = KNeighborsClassifier(10).fit(x[train], y[train])
        p[held] = model.predict_proba(x[held])
    found = find_label_errors(p, y)
    rows = [item.row for item in found]
    assert np.isin(rows[:60], wrong).mean() > 0.95
    assert np.isin(wrong, rows).mean() > 0.7
    right = [item.suggested == truth[item.row] for item in found if item.row in set(wrong.tolist())]
    assert np.mean(right) > 0.95


def test_sure_and_right_answers_leave_nothing_to_doubt():
    y = np.array([0, 1, 2, 0])
    assert find_label_errors(np.eye(3)[y], y) == [] and find_label_errors(np.zeros((0, 3)), np.zeros(0, int)) == []


@pytest.mark.parametrize(
    "p, y, message",
    [
        (np.zeros((3, 2)), np.zeros(2, int), "there must be a row of probabilities for each label"),
        (np.zeros((2, 2)), np.array([0, 2]), "a label is not a class"),
        (np.array([[np.nan, 1]]), np.array([0]), "a probability is not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(p, y, message):
    with pytest.raises(DataError, match=message):
        find_label_errors(p, y)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80).map(np.array), st.integers(2, 6), st.integers(0, 3))
@settings(deadline=None)
def test_folds_hold_each_row_out_once_and_each_class_evenly(y, count, seed):
    if count > len(y):
        with pytest.raises(DataError):
            make_folds(y, count, seed)
        return
    parts = make_folds(y, count, seed)
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(len(y)))
    for train, held in parts:
        assert sorted([*train, *held]) == list(range(len(y)))
    for label in set(y.tolist()):
        each = [int((y[held] == label).sum()) for _, held in parts]
        assert max(each) - min(each) <= 1
    sizes = [len(held) for _, held in parts]
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=20, max_size=60))
@settings(deadline=None)
def test_copies_of_one_picture_stay_in_one_fold(rows):
    y, groups = (np.array(column) for column in zip(*rows, strict=True))
    for _, held in make_folds(y, 3, groups=groups):
        assert not set(groups[held]) & set(np.delete(groups, held))
