"""The plain engine computes what torch computes: outputs, gradients, optimizer steps, to 1e-9 in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines import plain
from striate.engines.torch import build_network, load_tensors
from striate.errors import DataError, ModelError, NetError, ShapeError
from striate.summaries.summary import summarise_net
from tests.random_nets import inputs_for, nets, tensors_for

SLOW = pytest.mark.slow
FEW = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
MANY = settings(deadline=None, max_examples=5000, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**31)


def close(mine: np.ndarray, theirs: torch.Tensor, what: str, tolerance: float = 1e-9) -> None:
    """Equal to `tolerance`, relative to the largest value of the map, or absolute where that is below 1."""
    expected = theirs.detach().numpy()
    assert mine.shape == expected.shape, what
    assert np.isfinite(expected).all(), what
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    assert np.abs(mine - expected).max(initial=0) <= tolerance * scale, what


def torch_net(net: Net, tensors: dict[str, np.ndarray]):
    return load_tensors(build_network(net).double(), tensors)


def kinks_are_clear(net: Net, maps: dict[str, np.ndarray], inputs: dict[str, np.ndarray], margin: float = 1e-7) -> bool:
    """Whether no value lies so near to a kink or a tie that rounding alone decides on which side it is."""
    corners = {
        L.ReLU: [0], L.LeakyReLU: [0], L.PReLU: [0], L.ELU: [0], L.SELU: [0], L.ReLU6: [0, 6],
        L.HardSigmoid: [-3, 3], L.HardSwish: [-3, 3],
    }  # fmt: skip
    for step in net.steps:
        x = inputs.get(step.path)
        for corner in corners.get(type(step.layer), []) if x is not None else []:
            away = np.abs(x - corner)
            if ((away < margin) & (away > 0)).any():
                return False
        if isinstance(step.layer, L.MaxPool | L.GlobalMaxPool) and x is not None:
            seen = x.reshape(*x.shape[:2], 1, 1, -1)
            if isinstance(step.layer, L.MaxPool):
                seen = plain.windows.read_windows(step.layer, x, *plain.windows.find_taps(step.layer, x.shape[1:]))
            best = np.sort(seen.reshape(*seen.shape[:4], -1), axis=-1)[..., -2:]
            if best.shape[-1] == 2 and ((np.diff(best) < margin) & (np.diff(best) > 0)).any():
                return False
    return True


def outputs_agree(net: Net, seed: int) -> None:
    tensors, x = tensors_for(net, seed), inputs_for(net, 2, seed)
    network = torch_net(net, tensors).eval()
    expected = network.maps(torch.as_tensor(x))
    maps = plain.compute_maps(net, tensors, x)
    assert maps.keys() == expected.keys()
    for path, y in maps.items():
        close(y, expected[path], path)
        assert y.shape[1:] == net.at(path).y
    close(plain.run_forward(net, tensors, x), network(torch.as_tensor(x)), "output")


class ExactHardSigmoid(torch.nn.Module):
    """torch's own operations; its fused `hardsigmoid` has 1/6 to seven digits in the gradient (measured: 3e-8 off)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu6(x + 3) / 6


def gradients_agree(net: Net, seed: int, train: bool) -> None:
    tensors, x = tensors_for(net, seed), inputs_for(net, 3, seed)
    labels = np.random.default_rng(seed).integers(0, net.classes, 3)
    way, _ = plain.start_pass(net, tensors, x, train, None)
    mine = plain.network.compute_gradients(net, way, x, labels)
    assume(kinks_are_clear(net, way.maps, way.inputs))

    network = torch_net(net, tensors).train(train)
    for step in net.steps:
        if isinstance(step.layer, L.HardSigmoid):
            parent, _, name = step.path.rpartition(".")
            setattr(network.get_submodule(parent), name, ExactHardSigmoid())
    image = torch.tensor(x, requires_grad=True)
    logits, sides = network.with_sides(image)
    loss = F.cross_entropy(logits, torch.as_tensor(labels))
    for weight, side in sides:
        loss = loss + weight * F.cross_entropy(side, torch.as_tensor(labels))
    loss.backward()
    close(np.array(mine.loss), loss, "loss")
    close(mine.x, image.grad, "x")
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            close(mine.tensors[name], parameter.grad, name)
        else:
            assert name not in mine.tensors, name
    assert set(mine.tensors) <= {name for name, _ in network.named_parameters()}
    for name, buffer in network.named_buffers():
        if train and name in net.tensors:
            close(mine.running[name], buffer, name)


@FEW
@given(nets(), seeds)
def test_every_map_of_a_random_net_is_torchs(net, seed):
    outputs_agree(net, seed)


@FEW
@given(nets(), seeds, st.booleans())
def test_every_gradient_of_a_random_net_is_torchs(net, seed, train):
    gradients_agree(net, seed, train)


@SLOW
@MANY
@given(nets(max_side=17, layers=7), seeds, st.booleans())
def test_outputs_and_gradients_of_many_random_nets_are_torchs(net, seed, train):
    outputs_agree(net, seed)
    gradients_agree(net, seed, train)


@FEW
@given(nets(random=True), seeds, st.data())
def test_one_value_alone_is_that_of_the_whole_map(net, seed, data):
    tensors, x = tensors_for(net, seed), inputs_for(net, 1, seed)
    maps = plain.compute_maps(net, tensors, x)
    path = data.draw(st.sampled_from(sorted(maps)))
    index = tuple(data.draw(st.integers(0, n - 1)) for n in maps[path].shape[1:])
    expected = maps[path][(0, *index)]
    assert plain.compute_value(net, tensors, x[0], path, *index) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert np.array_equal(plain.run_forward(net, tensors, x, upto=path), maps[path])


def test_one_value_reads_only_its_receptive_field():
    """Two 3×3 convolutions and a pooling see 8×8 pixels: all others may be anything, even no number."""
    net = Net((2, 40, 40), [L.Conv(3, 3), L.ReLU(), L.MaxPool(2), L.Conv(2, 3)])
    tensors, x = tensors_for(net), inputs_for(net, 1)
    expected = plain.run_forward(net, tensors, x)[0, 1, 5, 6]
    top, left = (axis.start + place * axis.jump for axis, place in zip(net.steps[-1].field, (5, 6), strict=True))
    lost = np.full_like(x[0], np.nan)
    lost[:, top : top + 8, left : left + 8] = x[0, :, top : top + 8, left : left + 8]
    assert plain.compute_value(net, tensors, lost, "conv2", 1, 5, 6) == pytest.approx(expected, rel=1e-12)


def test_a_residual_net_of_many_blocks_gives_one_value_in_time_that_does_not_double_with_each_block():
    blocks = [
        L.Parallel(L.Identity(), [L.Conv(2, 3, padding=1, name="conv")], join="add", name=f"b{i}") for i in range(24)
    ]
    net = Net((2, 64, 64), blocks)
    tensors, x = {k: v * 0.2 for k, v in tensors_for(net).items()}, inputs_for(net, 1)
    expected = plain.run_forward(net, tensors, x)[0, 1, 30, 31]
    assert plain.compute_value(net, tensors, x[0], "b23", 1, 30, 31) == pytest.approx(expected, rel=1e-12)


@settings(FEW, max_examples=40)
@given(nets(max_side=6, layers=3, random=True), seeds)
def test_gradients_through_dropout_are_the_slopes_that_are_measured(net, seed):
    """Central differences of the loss along a random direction, the masks held still."""
    tensors, x = tensors_for(net, seed), inputs_for(net, 3, seed)
    masks, labels = plain.draw_masks(net, 3, seed), np.array([0, 1, 0])
    way, _ = plain.start_pass(net, tensors, x, True, masks)
    mine = plain.network.compute_gradients(net, way, x, labels)
    assume(kinks_are_clear(net, way.maps, way.inputs, margin=1e-3))
    draw = np.random.default_rng(seed)
    along = {name: draw.standard_normal(g.shape) for name, g in mine.tensors.items()}
    h = 1e-6

    def loss(sign: float) -> float:
        moved = tensors | {name: tensors[name] + sign * h * along[name] for name in along}
        return plain.loss_and_gradients(net, moved, x, labels, masks=masks).loss

    measured = (loss(1) - loss(-1)) / (2 * h)
    assert measured == pytest.approx(sum((mine.tensors[n] * along[n]).sum() for n in along), rel=1e-3, abs=1e-4)


@FEW
@given(nets())
def test_the_summary_counts_the_shapes_parameters_and_macs_that_occur(net):
    """Shapes from the plain engine's maps, parameters and MACs from torch."""
    summary, network = summarise_net(net), build_network(net).double().eval()
    x = inputs_for(net, 1)
    maps = plain.compute_maps(net, tensors_for(net), x)
    for row in summary.rows:
        if not row.side:
            assert maps[row.path].shape == (1, *row.y)
    assert summary.params == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter:
        network(torch.as_tensor(x))
    assert 2 * summary.macs == counter.get_total_flops()


@pytest.mark.parametrize("init", ["glorot_uniform", "he_normal", "lecun_uniform", "torch", "he_out_normal"])
def test_fresh_weights_have_the_spread_that_the_torch_engine_draws(init):
    net = Net((8, 9, 9), [L.Conv(64, 5, init=init), L.Flatten(), L.Dense(4, init=init)])
    mine, theirs = plain.draw_tensors(net, seed=1), build_network(net, seed=1).state_dict()
    assert {name: value.shape for name, value in mine.items()} == {n: tuple(t.shape) for n, t in theirs.items()}
    assert mine["conv1.weight"].std() == pytest.approx(theirs["conv1.weight"].std().item(), rel=0.03)
    assert mine["conv1.weight"].mean() == pytest.approx(0, abs=0.01)
    assert np.all(mine["conv1.bias"] == 0)


def test_a_dirac_convolution_passes_its_channels_on():
    net = Net((3, 6, 6), [L.Conv(3, 3, padding=1, init="dirac")])
    x = inputs_for(net, 2)
    assert np.array_equal(plain.run_forward(net, plain.draw_tensors(net), x), x)


def test_an_input_of_the_wrong_shape_and_dropout_without_masks_are_named():
    net = Net((1, 8, 8), [L.Dropout(0.5), L.Flatten(), L.Dense(2)], name="small")
    with pytest.raises(DataError, match="small takes a batch N×1×8×8\n  got   2×3×8×8"):
        plain.run_forward(net, tensors_for(net), np.zeros((2, 3, 8, 8)))
    with pytest.raises(ModelError, match="dropout1: in training this layer drops at random"):
        plain.run_forward(net, tensors_for(net), inputs_for(net), train=True)


def test_of_equal_values_under_a_max_pool_the_first_gets_the_gradient_as_in_torch():
    net = Net((1, 5, 5), [L.MaxPool(3, 1, padding=1), L.Conv(1, 2), L.Flatten(), L.Dense(2)])
    tensors, x = tensors_for(net), np.ones((1, 1, 5, 5))
    image = torch.tensor(x, requires_grad=True)
    F.cross_entropy(torch_net(net, tensors)(image), torch.tensor([1])).backward()
    close(plain.loss_and_gradients(net, tensors, x, np.array([1])).x, image.grad, "x")


@pytest.mark.parametrize("kind", [L.ReLU, L.ReLU6, L.LeakyReLU, L.ELU, L.HardSigmoid, L.HardSwish])
def test_the_slope_at_a_kink_is_torchs(kind):
    net = Net((1, 1, 6), [kind(), L.Flatten(), L.Dense(2)])
    tensors, x = tensors_for(net), np.array([[[[-3.0, -0.0, 0.0, 3.0, 6.0, 7.0]]]])
    image = torch.tensor(x, requires_grad=True)
    F.cross_entropy(torch_net(net, tensors)(image), torch.tensor([1])).backward()
    close(plain.loss_and_gradients(net, tensors, x, np.array([1])).x, image.grad, "x", 1e-7)


@FEW
@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.sampled_from(["same", 0, 1, 2]), st.integers(2, 4))
def test_a_dilated_max_pool_that_would_see_padding_alone_is_refused(n, kernel, stride, padding, dilation):
    """torch computes −∞ there."""
    try:
        pool = L.MaxPool(kernel, stride, padding, dilation)
        L.Conv(1, kernel, stride, padding, dilation).out((1, n, n))
    except (NetError, ShapeError):
        return
    rows, columns = plain.windows.find_taps(pool, (1, n, n))
    seen = plain.windows.read_windows(pool, np.ones((1, 1, n, n)), rows, columns)
    if np.isfinite(seen.max(axis=(4, 5))).all():
        assert pool.out((1, n, n))
    else:
        with pytest.raises(ShapeError, match="a dilated window would see padding alone") as e:
            Net((1, n, n), [pool])
        assert "dilation=1, padding='same' fits" in e.value.hint
        L.MaxPool(kernel, stride, dilation=1, padding="same").out((1, n, n))
