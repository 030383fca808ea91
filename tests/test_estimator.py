"""striate within scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from striate import Conv, Dense, Flatten, ImageClassifier, Net, ReLU
from striate.errors import DataError

TINY = Net((1, 8, 8), [Conv(8, 3), ReLU(), Conv(16, 3), ReLU(), Flatten(), Dense(10)])


@pytest.mark.slow
def test_it_passes_cross_validation_on_the_digits():
    X, y = load_digits(return_X_y=True)
    scores = cross_val_score(ImageClassifier(TINY, epochs=8, lr=0.01), X, y, cv=3)
    assert scores.mean() > 0.9


def test_labels_of_any_kind_come_back_and_probabilities_are_in_their_order():
    X, digits = load_digits(return_X_y=True)
    few = digits < 3
    names = np.array(["zero", "one", "two"])[digits[few]]
    net = Net((1, 8, 8), [Conv(8, 3), ReLU(), Flatten(), Dense(3)])
    made = make_pipeline(FunctionTransformer(), ImageClassifier(net, epochs=4, lr=0.01)).fit(X[few], names)
    assert list(made.classes_) == ["one", "two", "zero"]
    p = made.predict_proba(X[few])
    np.testing.assert_allclose(p.sum(1), 1)
    assert (made.classes_[p.argmax(1)] == made.predict(X[few])).all()
    assert made.score(X[few], names) > 0.9


def test_the_same_seed_gives_the_same_model_and_clone_keeps_the_settings():
    X, y = load_digits(return_X_y=True)
    one = ImageClassifier(TINY, epochs=1, random_state=3)
    other = clone(one)
    assert other.get_params() == one.get_params()
    np.testing.assert_array_equal(one.fit(X, y).predict_proba(X[:9]), other.fit(X, y).predict_proba(X[:9]))


def test_colour_images_of_any_range_are_taken():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(60, 8, 8, 3))
    y = np.arange(60) % 2
    X[y == 1, :, :, 0] += 4
    net = Net((3, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(2)])
    made = ImageClassifier(net, epochs=5, lr=0.01, batch=16, augment="none").fit(X, y)
    assert made.score(X, y) > 0.9


@pytest.mark.parametrize("shape", [(20, 7), (20, 8, 8, 2), (20,)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises((DataError, IndexError)):
        ImageClassifier(TINY).fit(np.zeros(shape), np.arange(20) % 2)
