"""Likely label errors by confident learning, on data whose errors were put in, and against the paper's definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from striate.data.label_errors import LabelError, folds, label_errors
from striate.errors import DataError


@st.composite
def cases(draw):
    n, classes = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.dirichlet(np.ones(classes) * draw(st.sampled_from([0.2, 1.0, 5.0])), n), rng.integers(0, classes, n)


@given(cases())
@settings(deadline=None)
def test_they_are_the_off_diagonal_of_the_papers_confident_joint(case):
    """Equations 1 and 2 of Northcutt et al. 2021, written out with sets."""
    p, y = case
    thresholds = {j: np.mean([p[i][j] for i in range(len(y)) if y[i] == j]) for j in set(y.tolist())}
    expected = {}
    for i in range(len(y)):
        candidates = [j for j, t in thresholds.items() if p[i][j] >= t]
        if candidates:
            best = max(candidates, key=lambda j, i=i: (p[i][j], -j))
            if best != y[i]:
                expected[i] = best
    found = label_errors(p, y)
    assert {item.row: item.suggested for item in found} == expected
    assert [item.confidence for item in found] == sorted(p[i][y[i]] for i in expected)
    for item in found:
        assert item == LabelError(item.row, y[item.row], item.suggested, p[item.row][item.given], item.other)
        assert item.other == p[item.row][item.suggested]


def test_labels_that_were_exchanged_are_found_first():
    """1,797 digits, one label in twenty wrong; probabilities from five folds of 10 nearest neighbours."""
    x, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(truth), len(truth) // 20, replace=False)
    y = truth.copy()
    y[wrong] = (truth[wrong] + rng.integers(1, 10, len(wrong))) % 10
    p = np.zeros((len(y), 10))
    for train, held in folds(y, 5):
        model = KNeighborsClassifier(10).fit(x[train], y[train])
        p[held] = model.predict_proba(x[held])
    found = label_errors(p, y)
    rows = [item.row for item in found]
    assert np.isin(rows[:60], wrong).mean() > 0.95
    assert np.isin(wrong, rows).mean() > 0.7
    right = [item.suggested == truth[item.row] for item in found if item.row in set(wrong.tolist())]
    assert np.mean(right) > 0.95


def test_sure_and_right_answers_leave_nothing_to_doubt():
    y = np.array([0, 1, 2, 0])
    assert label_errors(np.eye(3)[y], y) == [] and label_errors(np.zeros((0, 3)), np.zeros(0, int)) == []


@pytest.mark.parametrize(
    "p, y, message",
    [
        (np.zeros((3, 2)), np.zeros(2, int), "there must be a row of probabilities for each label"),
        (np.zeros((2, 2)), np.array([0, 2]), "a label is no class"),
        (np.array([[np.nan, 1]]), np.array([0]), "a probability is not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(p, y, message):
    with pytest.raises(DataError, match=message):
        label_errors(p, y)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80).map(np.array), st.integers(2, 6), st.integers(0, 3))
@settings(deadline=None)
def test_folds_hold_each_row_out_once_and_each_class_evenly(y, count, seed):
    if count > len(y):
        with pytest.raises(DataError):
            folds(y, count, seed)
        return
    parts = folds(y, count, seed)
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
    for _, held in folds(y, 3, groups=groups):
        assert not set(groups[held]) & set(np.delete(groups, held))
