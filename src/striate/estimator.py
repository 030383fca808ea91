"""striate as a scikit-learn estimator."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .errors import DataError
from .language import say


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional classifier with scikit-learn's `fit`, `predict`, `predict_proba` and `score`.

    X is N×H×W, N×H×W×C, or N×D where D is a square number (a gray image a row). uint8 values are taken as they are;
    others are scaled so that the range of the training images becomes 0 to 255. y holds any labels.

    net, epochs, batch, size, optimizer, lr, augment  as for `striate.train`
    valid_share   of the training images, to choose the best epoch by
    random_state  the seed

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> bool(ImageClassifier("lenet5", epochs=3).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]) > 0.85)
    True
    """

    def __init__(
        self,
        net: Any = None,
        *,
        epochs: int = 10,
        batch: int = 64,
        size: Any = None,
        optimizer: str = "adamw",
        lr: float | None = None,
        augment: str = "auto",
        valid_share: float = 0.1,
        random_state: int = 0,
    ) -> None:
        self.net = net
        self.epochs = epochs
        self.batch = batch
        self.size = size
        self.optimizer = optimizer
        self.lr = lr
        self.augment = augment
        self.valid_share = valid_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ImageClassifier:
        """Train on images X and labels y. Raises StriateError for arrays that are no labelled images."""
        from .architecture.find import find_net, find_usual_input
        from .data.sources.load import load_dataset
        from .fitting.watch import Watch
        from .runs.request import check_image_size
        from .runs.training import train

        X = np.asarray(X)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        self.range_ = (0.0, 255.0) if X.dtype == np.uint8 else (float(np.min(X)), float(np.max(X)))
        images = self.images(X)
        self.shape_ = X.shape[1:]
        net = self.net or "striate_m"
        usual = (isinstance(net, str) and find_usual_input(net)) or find_net(net).input
        data = load_dataset(
            (images, codes),
            size=check_image_size(self.size) or (usual[1], usual[2]),
            channels=images.shape[3],
            seed=self.random_state,
            valid_share=self.valid_share,
            test_share=0.0,
        )
        with tempfile.TemporaryDirectory() as folder:
            run = train(
                data,
                net,
                out=folder,
                watch=Watch(),
                epochs=self.epochs,
                batch=self.batch,
                optimizer=self.optimizer,
                lr=self.lr,
                augment=self.augment,
                seed=self.random_state,
            )
            self.model_ = run.model
        return self

    def images(self, X: Any) -> np.ndarray:
        """X as uint8 N×H×W×C. Raises DataError."""
        X = np.asarray(X)
        side = round(X.shape[1] ** 0.5) if X.ndim == 2 else 0
        if X.ndim == 2 and side * side == X.shape[1]:
            X = X.reshape(len(X), side, side)
        if X.ndim == 3:
            X = X[..., None]
        if X.ndim != 4 or X.shape[3] not in (1, 3):
            raise DataError(
                "X",
                say("images are N×H×W, N×H×W×1, N×H×W×3, or N×D with D a square number"),
                got="×".join(map(str, X.shape)),
            )
        if X.dtype == np.uint8:
            return X
        low, high = self.range_
        return ((X.astype(float) - low) * (255 / ((high - low) or 1))).round().clip(0, 255).astype(np.uint8)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities N×K, columns in the order of `classes_`."""
        check_is_fitted(self)
        return self.model_.probabilities(np.stack([self.model_.prepared(image) for image in self.images(X)]))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each image."""
        return self.classes_[self.predict_proba(X).argmax(1)]
