"""LeNet-5. LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998."""

from __future__ import annotations

from ..layers import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Layer, MaxPool, ReLU, Shape, Tanh
from ..net import Net
from .options import pick_option, scale_filters


def lenet5(
    classes: int = 10,
    input: Shape = (1, 32, 32),
    *,
    pool: str = "max",
    activation: str = "relu",
    width: float = 1.0,
    head: str = "dense",
) -> Net:
    """LeNet-5 in its modern form: conv2 sees all six maps (the paper's C3 sees chosen ones), pooling learns nothing.

    On 1×32×32 it has 61,706 parameters, on 3×32×32 62,006; any input that two 5×5 convolutions fit will do.
    pool        "max", or "avg" as in 1998
    activation  "relu", or "tanh" as in 1998
    head        "dense", or "gap": the mean of each map and one dense layer
    """
    pooling = pick_option("pool", pool, {"max": MaxPool, "avg": AvgPool})
    squash: type[Layer] = pick_option("activation", activation, {"relu": ReLU, "tanh": Tanh})
    init = "he_uniform" if activation == "relu" else "glorot_uniform"
    dense = [
        Flatten(name="flatten"),
        Dense(scale_filters(120, width), init=init, name="dense1"),
        squash(),
        Dense(scale_filters(84, width), init=init, name="dense2"),
        squash(),
        Dense(classes, name="dense3"),
    ]
    return Net(
        input=input,
        layers=[
            Conv(scale_filters(6, width), 5, init=init, name="conv1"),
            squash(),
            pooling(2, name="pool1"),
            Conv(scale_filters(16, width), 5, init=init, name="conv2"),
            squash(),
            pooling(2, name="pool2"),
            *pick_option("head", head, {"dense": dense, "gap": [GlobalAvgPool(), Dense(classes)]}),
        ],
        name="lenet5",
    )
