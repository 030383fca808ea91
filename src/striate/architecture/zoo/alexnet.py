"""AlexNet. Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012.

The one-column form: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
"""

from __future__ import annotations

from ..layers import Conv, Dense, Dropout, Flatten, GlobalAvgPool, Layer, LocalResponseNorm, MaxPool, ReLU, Shape
from ..net import Net
from .options import pick_option, scale_filters


def alexnet(
    classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0, head: str = "dense", dropout: float = 0.5
) -> Net:
    """AlexNet in one column, without groups and normalisation: 61,100,840 parameters, 94 % of them dense ones.

    head  "dense", or "gap": the mean of each map and one dense layer (2.7 million parameters in all)
    """
    return Net(
        input=input,
        layers=[
            Conv(scale_filters(64, width), 11, stride=4, padding=2, init="he_normal"),
            ReLU(),
            MaxPool(3, stride=2),
            Conv(scale_filters(192, width), 5, padding=2, init="he_normal"),
            ReLU(),
            MaxPool(3, stride=2),
            Conv(scale_filters(384, width), 3, padding=1, init="he_normal"),
            ReLU(),
            Conv(scale_filters(256, width), 3, padding=1, init="he_normal"),
            ReLU(),
            Conv(scale_filters(256, width), 3, padding=1, init="he_normal"),
            ReLU(),
            MaxPool(3, stride=2),
            *build_alexnet_head(head, classes, scale_filters(4096, width), dropout),
        ],
        name="alexnet",
    )


def alexnet_original(
    classes: int = 1000,
    input: Shape = (3, 227, 227),
    *,
    columns: int = 2,
    width: float = 1.0,
    head: str = "dense",
    dropout: float = 0.5,
) -> Net:
    """AlexNet as printed in 2012, with local response normalisation: 60,965,224 parameters.

    The paper writes 224, its arithmetic needs 227: (227 − 11)/4 + 1 = 55.
    columns  2, as on the paper's two GPUs: conv2, conv4 and conv5 see one half of the maps each; with 1 they see
             all of them, and there are 62,378,344 parameters
    """

    def filters(n: int) -> int:
        return scale_filters(n, width, columns)

    # The paper's alpha of 1e-4 multiplies the sum itself; ours is divided by the window's 5 first.
    norm = LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)
    return Net(
        input=input,
        layers=[
            Conv(filters(96), 11, stride=4, init="he_normal"),
            ReLU(),
            norm,
            MaxPool(3, stride=2),
            Conv(filters(256), 5, padding=2, groups=columns, init="he_normal"),
            ReLU(),
            norm,
            MaxPool(3, stride=2),
            Conv(filters(384), 3, padding=1, init="he_normal"),
            ReLU(),
            Conv(filters(384), 3, padding=1, groups=columns, init="he_normal"),
            ReLU(),
            Conv(filters(256), 3, padding=1, groups=columns, init="he_normal"),
            ReLU(),
            MaxPool(3, stride=2),
            *build_alexnet_head(head, classes, scale_filters(4096, width), dropout),
        ],
        name="alexnet_original",
    )


def build_alexnet_head(head: str, classes: int, units: int, dropout: float) -> list[Layer]:
    """Two hidden dense layers behind dropout, or global average pooling."""
    dense = [
        Flatten(),
        Dropout(dropout),
        Dense(units, init="he_normal"),
        ReLU(),
        Dropout(dropout),
        Dense(units, init="he_normal"),
        ReLU(),
        Dense(classes),
    ]
    return pick_option("head", head, {"dense": dense, "gap": [GlobalAvgPool(), Dropout(dropout), Dense(classes)]})
