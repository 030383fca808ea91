"""Looking inside: what each function finds is what the net's own arithmetic, torch or a paper's axiom says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate import BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Net, Parallel, ReLU, Softmax
from striate.engines import onnx, plain
from striate.errors import DataError, ModelError, NetError, ShapeError
from striate.inside import (
    ablation,
    attribution,
    dream,
    embed,
    examples,
    features,
    filters,
    filters_by_hand,
    gradients,
    image_page,
    trust,
)
from striate.report import pictures, sheet

torch = pytest.importorskip("torch")

NET = Net(
    (3, 12, 12),
    [
        Conv(4, 3, name="conv1"),
        ReLU(),
        MaxPool(2),
        Parallel([Conv(6, 3, padding="same"), BatchNorm()], Conv(6, 1), join="add", name="block"),
        ReLU(),
        Flatten(),
        Dense(5, name="dense1"),
        ReLU(),
        Dense(4, name="logits"),
    ],
    name="small",
)
TENSORS = {
    name: (t + 0.2 * name.endswith("bias") * np.sin(np.arange(t.size)).reshape(t.shape)).astype(np.float32)
    for name, t in plain.draw_tensors(NET, 3).items()
}
"""Fresh weights with biases, without which a net of ReLUs has the same gradients on all of the way from 0."""
X = np.random.default_rng(5).standard_normal((20, 3, 12, 12)).astype(np.float32)


def raw(x: np.ndarray) -> np.ndarray:
    """uint8 N×H×W×C -> N×C×H×W, as far from 0 as the preprocessing of a real model would have it."""
    return (x.astype(np.float32) / 128 - 1).transpose(0, 3, 1, 2)


def is_picture(picture: np.ndarray) -> bool:
    """An RGB picture with more than one colour, which Pillow writes as PNG."""
    shaped = picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    return shaped and len(np.unique(picture)) > 1 and pictures.encode_png(picture)[:4] == b"\x89PNG"


# Filters and features -----------------------------------------------------------------------------


def test_filters_are_the_layers_weights_and_the_first_ones_of_a_colour_net_are_in_colour():
    first, inner = filters.read_filters(NET, TENSORS), filters.read_filters(NET, TENSORS, "block.branch2")
    assert (first.path, first.colour, inner.colour) == ("conv1", True, False)
    assert first.weights is TENSORS["conv1.weight"]
    assert is_picture(filters.draw_filters(first)) and is_picture(filters.draw_filters(inner))
    with pytest.raises(NetError, match="filters belong to a convolution"):
        filters.read_filters(NET, TENSORS, "dense1")


def test_features_are_torchs_maps_strongest_first():
    from striate.engines.torch import build_network, load_tensors

    with torch.no_grad():
        maps = load_tensors(build_network(NET), TENSORS).eval().maps(torch.from_numpy(X[:1]))
    found = features.compute_features(NET, TENSORS, X[0])
    assert [f.path for f in found] == list(maps)
    for f in found:
        expected = maps[f.path][0].numpy()
        np.testing.assert_allclose(f.maps, expected, atol=1e-5)
        strength = [abs(channel).mean() for channel in expected]
        assert [strength[c] for c in f.order] == sorted(strength, reverse=True)
        assert f.as_dict(2)["strongest"][0]["strength"] == pytest.approx(max(strength), rel=1e-4)
    assert is_picture(features.draw_features(found, np.zeros((12, 12, 3), np.uint8)))


# Gradients and attribution ------------------------------------------------------------------------


@pytest.mark.parametrize("of, by", [("logits", "image"), ("logits", "relu1"), ("block", "image"), ("relu2", "pool1")])
def test_the_plain_engine_and_torch_give_the_same_gradients(of, by):
    weights = np.random.default_rng(1).standard_normal((3, *NET.at(of).y))
    mine, theirs = (
        gradients.make_differentiable(NET, TENSORS, engine)(X[:3], of, weights, by) for engine in ("plain", "torch")
    )
    assert np.abs(theirs.slope).max() > 0
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * max(1, np.abs(b).max()))


def test_the_logits_of_a_net_that_ends_in_softmax_are_before_it():
    net = Net((1, 4, 4), [Flatten(), Dense(3), Softmax()])
    assert gradients.find_logits(net) == "dense1"
    with pytest.raises(NetError, match="ends in a vector"):
        gradients.find_logits(Net((1, 4, 4), [Conv(2, 3)]))


def test_grad_cam_is_what_the_papers_equations_give_with_torchs_autograd():
    """Selvaraju et al. 2017, equations 1 and 2: weights are mean gradients, the map is the ReLU of the weighed sum."""
    from striate.engines.torch import build_network, load_tensors

    found = attribution.compute_attribution(NET, TENSORS, X[1], 2)
    assert found.at == "relu2"
    maps = load_tensors(build_network(NET), TENSORS).eval().maps(torch.from_numpy(X[1:2]))
    (slope,) = torch.autograd.grad(maps["logits"][0, 2], maps["relu2"])
    cam = torch.relu((slope.mean((2, 3), keepdim=True) * maps["relu2"]).sum(1, keepdim=True))
    expected = torch.nn.functional.interpolate(cam, size=(12, 12), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(found.values, expected[0, 0].detach().numpy(), atol=1e-5)


def test_grad_cam_on_a_net_with_a_global_mean_and_one_dense_layer_is_the_class_activation_map():
    """Zhou et al. 2016: there the map is the dense layer's weights times the feature maps, over the positions."""
    net = Net((1, 8, 8), [Conv(5, 3, name="conv1"), ReLU(), GlobalAvgPool(), Dense(3, name="head")])
    tensors = plain.draw_tensors(net, 0)
    x = X[0, :1, :8, :8]
    maps = plain.compute_maps(net, tensors, x[None].astype(np.float64))["relu1"][0]
    expected = np.maximum(np.tensordot(tensors["head.weight"][1], maps, 1), 0) / 36
    found = attribution.compute_grad_cam(net, tensors, x, 1, engine="plain")
    np.testing.assert_allclose(found.values, attribution.stretch_map(expected, (8, 8)), atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 15), st.integers(1, 15))
def test_a_map_is_stretched_as_torch_does_it(h, w, height, width):
    values = np.random.default_rng(0).standard_normal((h, w))
    want = torch.nn.functional.interpolate(
        torch.as_tensor(values)[None, None], size=(height, width), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(attribution.stretch_map(values, (height, width)), want[0, 0].numpy(), atol=1e-9)


@pytest.mark.parametrize("engine", ["torch", "plain"])
def test_integrated_gradients_sum_to_the_logit_less_the_baselines(engine):
    """The completeness axiom, Sundararajan et al. 2017, proposition 1; with more steps the nearer."""
    logits = onnx.run_net(NET, TENSORS, np.stack([X[2], np.zeros_like(X[2])]))[:, 3]
    off = []
    for steps in (8, 400):
        found = attribution.compute_integrated_gradients(NET, TENSORS, X[2], 3, steps, engine=engine)
        assert found.total == pytest.approx(logits[0] - logits[1], abs=1e-4)
        off.append(abs(found.values.sum() - found.total))
    assert off[1] < 0.01 * abs(found.total) and off[1] <= off[0] + 1e-6


def test_integrated_gradients_are_means_over_the_middles_of_the_ways_parts():
    """Three parts have their middles at 1/6, 3/6 and 5/6 of the way from the baseline, 0."""
    from striate.engines.torch import build_network, load_tensors

    network = load_tensors(build_network(NET).double(), TENSORS).eval()
    x = torch.as_tensor(X[3:4], dtype=torch.float64)
    points = torch.cat([x * share for share in (1 / 6, 3 / 6, 5 / 6)]).requires_grad_()
    (slope,) = torch.autograd.grad(network(points)[:, 1].sum(), points)
    found = attribution.compute_integrated_gradients(NET, TENSORS, X[3], 1, steps=3, engine="plain")
    np.testing.assert_allclose(found.values, (slope.mean(0) * x[0]).sum(0).numpy(), atol=1e-9)


def test_occlusion_is_the_fall_of_the_probability_and_needs_every_pixel_covered():
    """A net that reads one pixel alone: only the squares over that pixel matter."""
    net = Net((1, 6, 6), [Flatten(), Dense(2, name="d")])
    weight = np.zeros((2, 36))
    weight[1, 2 * 6 + 4] = 3
    tensors = {"d.weight": weight, "d.bias": np.zeros(2)}
    x = np.ones((1, 6, 6), np.float32)
    found = attribution.compute_occlusion(net, tensors, x, 1, side=1, stride=1)
    expected = np.zeros((6, 6))
    expected[2, 4] = 1 / (1 + np.exp(-3)) - 0.5
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    wide = attribution.compute_occlusion(net, tensors, x, 1, side=4, stride=3)
    assert wide.values[2, 4] > 0 and np.isfinite(wide.values).all()


def lean_towards(target: int) -> dict[str, np.ndarray]:
    """The small net's tensors, with which it finds the class `target` the likeliest of whatever image."""
    return TENSORS | {"logits.bias": TENSORS["logits.bias"] + 9 * np.eye(4, dtype=np.float32)[target]}


@pytest.mark.parametrize("method", attribution.ATTRIBUTION_METHODS)
def test_every_attribution_has_a_picture_and_names_the_likeliest_class_by_itself(method):
    for target in range(4):
        tensors = lean_towards(target)
        found = attribution.compute_attribution(NET, tensors, X[0], method=method)
        assert found.target == onnx.run_net(NET, tensors, X[:1]).argmax() == target
        asked = attribution.compute_attribution(NET, tensors, X[0], target, method)
        np.testing.assert_array_equal(found.values, asked.values)
    assert found.values.shape == (12, 12) and found.values.dtype == np.float64
    assert is_picture(attribution.draw_attribution(found, np.full((12, 12, 3), 90, np.uint8), "a class"))


def test_unknown_methods_classes_and_layers_are_named():
    with pytest.raises(ModelError, match="did you mean 'occlusion'"):
        attribution.compute_attribution(NET, TENSORS, X[0], method="oclusion")
    with pytest.raises(ModelError, match="0 to 3"):
        attribution.compute_attribution(NET, TENSORS, X[0], 4)
    with pytest.raises(NetError, match="gives a vector"):
        attribution.compute_grad_cam(NET, TENSORS, X[0], 1, at="dense1")


def test_the_score_prefers_the_pixels_that_the_net_reads_to_others_and_to_random_ones():
    """A net that looks for a chessboard in the upper left quarter: an attribution of just that is the best there is."""
    net = Net((1, 10, 10), [Flatten(), Dense(2, name="d")])
    corner = np.zeros((10, 10))
    corner[:5, :5] = 1
    board = corner * (-1) ** np.indices((10, 10)).sum(0)
    tensors = {"d.weight": np.stack([np.zeros(100), board.ravel() / 25]), "d.bias": np.zeros(2)}
    x = np.random.default_rng(0).normal(0, 0.1, (1, 10, 10)).astype(np.float32)
    x[0, :5, :5] = 2 * board[:5, :5]
    right = trust.measure_trust(net, tensors, x, attribution.Attribution("by hand", 1, corner))
    wrong = trust.measure_trust(net, tensors, x, attribution.Attribution("by hand", 1, -corner))
    assert right.better_than_random and not wrong.better_than_random
    assert right.deletion < right.random_deletion < wrong.deletion
    assert right.insertion > right.random_insertion > wrong.insertion
    assert right.removed[0][1] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)  # nothing removed: 25 · 2/25
    assert right.removed[-1] == (1.0, pytest.approx(0.5))  # all removed: two equal logits
    assert "better in both" in str(right) and "not better" in str(wrong)


def test_the_area_is_that_of_the_trapezia():
    assert trust.integrate_curve(((0.0, 1.0), (0.5, 0.5), (1.0, 0.0))) == pytest.approx(0.5)
    assert trust.integrate_curve(((0.0, 1.0), (0.25, 0.0), (1.0, 0.0))) == pytest.approx(0.125)


# Examples -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 3), st.integers(0, 1000))
def test_a_channels_best_patch_alone_gives_the_channels_value(channel, seed):
    """The patch cut out by the receptive field, put through the layers by itself, gives the value that it is shown
    with."""
    net = Net((3, 14, 11), [Conv(4, 3), ReLU(), MaxPool(2), Conv(4, 2, name="deep")])
    tensors = plain.draw_tensors(net, seed)
    images = np.random.default_rng(seed).integers(0, 256, (9, 14, 11, 3), dtype=np.uint8)
    [found] = examples.find_examples(net, tensors, images, raw, "deep", [channel], 4)
    maps = plain.run_forward(net, tensors, raw(images))[:, channel]
    best = np.sort(maps.max((1, 2)))[::-1][:4]
    np.testing.assert_allclose([e.value for e in found.examples], best, atol=1e-4)
    for e in found.examples:
        assert e.patch.shape == (6, 6, 3)  # (2 − 1)·2 + 2 − 1 + 3
        assert e.value == pytest.approx(maps[(e.image, *e.place)], abs=1e-4)
        alone = plain.run_forward(net.resized((3, 6, 6)), tensors, raw(e.patch[None]))
        assert alone[0, channel, 0, 0] == pytest.approx(e.value, abs=1e-4)


def test_a_patch_that_reaches_beyond_the_image_is_filled_up_and_a_vectors_is_the_whole_image():
    net = Net((1, 5, 5), [Conv(1, 3, padding=1, name="c"), Flatten(), Dense(2, name="d")])
    tensors = {"c.weight": np.ones((1, 1, 3, 3)), "c.bias": np.zeros(1)}
    tensors |= {"d.weight": np.ones((2, 25)), "d.bias": np.zeros(2)}
    images = np.full((1, 5, 5, 1), 120, np.uint8)
    images[0, 0, 0] = 255
    [found] = examples.find_examples(net, tensors, images, lambda x: x.transpose(0, 3, 1, 2) / 1.0 - 121, "c", [0])
    [e] = found.examples
    assert (e.place, e.box) == ((0, 0), (-1, 2, -1, 2))
    assert e.patch[..., 0].tolist() == [[128, 128, 128], [128, 255, 120], [128, 120, 120]]
    [whole] = examples.find_examples(net, tensors, images, raw, "d", [1])
    assert whole.examples[0].box == (0, 5, 0, 5) and whole.examples[0].place == ()
    assert is_picture(examples.draw_examples([found, whole], images))
    with pytest.raises(ModelError, match="0 to 1"):
        examples.find_examples(net, tensors, images, raw, "d", [2])
    with pytest.raises(DataError, match="no image"):
        examples.find_examples(net, tensors, images[:0], raw, "d")


# Dream --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["torch", "plain"])
def test_the_dream_of_one_filters_middle_is_white_where_it_is_positive_and_black_where_negative(engine):
    """The best input of a linear unit within what a photo can hold is known: every pixel at the end that pays."""
    net = Net((1, 9, 9), [Conv(3, 3, name="c")])
    tensors = plain.draw_tensors(net, 4)
    found = dream.dream_channels(
        net, tensors, [0.5], [0.25], "c", centre=True, blur=0, steps=150, rate=0.15, engine=engine
    )
    best = np.abs(tensors["c.weight"]).sum((1, 2, 3)) * 2  # (1 − 0.5) / 0.25 either way
    np.testing.assert_allclose(found.values[-1], best, rtol=0.02)
    large = np.abs(tensors["c.weight"][:, 0]) > 0.05
    assert ((found.images[..., 0] > 127) == (tensors["c.weight"][:, 0] > 0))[large].all()
    assert found.images.shape == (3, 3, 3, 1)


def test_a_dream_excites_its_channel_more_than_any_image_of_noise_and_the_same_seed_dreams_the_same():
    settings_ = {"steps": 40, "channels": [0, 3], "seed": 1}
    found = dream.dream_channels(NET, TENSORS, [0.5] * 3, [0.25] * 3, "logits", **settings_)
    noise = np.clip(X, -2, 2)
    assert (found.values[-1] > onnx.run_net(NET, TENSORS, noise)[:, [0, 3]].max(0)).all()
    again = dream.dream_channels(NET, TENSORS, [0.5] * 3, [0.25] * 3, "logits", **settings_)
    assert (again.images == found.images).all()
    assert found.images.shape == (2, 12, 12, 3) and is_picture(dream.draw_dream(found))
    with pytest.raises(ModelError, match="0 to 3"):
        dream.dream_channels(NET, TENSORS, [0.5] * 3, [0.25] * 3, "logits", [7])


def test_a_step_of_a_dream_changes_the_pixels_that_the_shifted_net_saw():
    """A net of one pixel: after one step from noise, the pixel that the shift brought there has changed, no other."""
    net = Net((1, 9, 9), [Flatten(), Dense(1, name="d")])
    weight = np.zeros((1, 81))
    weight[0, 4 * 9 + 4] = 1
    draw = np.random.default_rng(6)
    noise = 0.1 * draw.standard_normal((1, 1, 9, 9))
    down, right = draw.integers(-3, 4, 2)
    assert (down, right) != (0, 0)
    tensors = {"d.weight": weight, "d.bias": np.zeros(1)}
    found = dream.dream_channels(
        net, tensors, [0.5], [0.5], "d", steps=1, jitter=3, blur=0, rate=0.1, seed=6, engine="plain"
    )
    before = ((noise[0, 0] * 0.5 + 0.5) * 255).round().astype(np.uint8)
    assert np.argwhere(found.images[0, :, :, 0] != before).tolist() == [[4 - down, 4 - right]]


# Lesion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["conv1", "pool1", "block", "block.branch1.bn1", "dense1"])
def test_a_lesion_is_what_the_plain_engine_gives_with_that_map_put_to_zero(path):
    """Each case again by hand: the layer is followed by one that scales its channels by 0 or 1."""
    from striate import LayerScale, Sequence

    y = onnx.run_net(NET, TENSORS, X).argmax(1)
    y[::3] = (y[::3] + 1) % 4  # so that the whole net is not always right
    found = ablation.ablate_layers(NET, TENSORS, X, y, [path])
    channels = NET.at(path).y[0]
    assert [item.channel for item in found.lesions] == [None, *range(channels)]

    def scaled(layer, names, here=""):
        """The layers, that at `path` in a Sequence with a LayerScale behind it."""
        if here == path:
            return Sequence(layer, LayerScale(), name=layer.name)
        if hasattr(layer, "named"):
            inside = [scaled(child, names, f"{here}.{name}".strip(".")) for name, child in layer.named]
            options = {"join": layer.join} if isinstance(layer, Parallel) else {}
            return type(layer)(*inside, name=layer.name, **options)
        return layer

    net = Net(NET.input, scaled(NET.body, {}).layers)
    for item in found.lesions:
        mask = np.ones(channels)
        mask[slice(None) if item.channel is None else item.channel] = 0
        values = iter(TENSORS.values())
        tensors = {n: mask if n.endswith("scale1.weight") else next(values) for n in net.tensors}
        right = (plain.run_forward(net, tensors, X).argmax(1) == y).mean()
        assert item.accuracy == pytest.approx(right)
        assert item.fall == pytest.approx(found.accuracy - right)
        assert item.interval[0] <= item.accuracy <= item.interval[1]


def test_the_lesions_of_all_layers_leave_out_the_one_that_gives_the_classes_and_are_told_worst_first():
    y = onnx.run_net(NET, TENSORS, X).argmax(1)
    found = ablation.ablate_layers(NET, TENSORS, X, y, channels=False)
    assert [item.path for item in found.lesions] == [
        "conv1", "block", "block.branch1.conv1", "block.branch2", "dense1",
    ]  # fmt: skip
    assert found.accuracy == 1
    assert [item.accuracy for item in found.worst()] == sorted(item.accuracy for item in found.lesions)
    assert str(found).splitlines()[0].startswith("the whole net: 100.00%")
    assert is_picture(ablation.draw_ablation(ablation.ablate_layers(NET, TENSORS, X, y, ["conv1"])))
    with pytest.raises(DataError, match="one label"):
        ablation.ablate_layers(NET, TENSORS, X, y[:3])


# Embedding ----------------------------------------------------------------------------------------


def test_the_plane_of_principal_components_is_scikit_learns():
    pca = pytest.importorskip("sklearn.decomposition").PCA(2)
    y = np.arange(20) % 4
    found = embed.embed_images(NET, TENSORS, X, y)
    read = plain.compute_maps(NET, TENSORS, X)["relu3"]
    expected = pca.fit_transform(read)
    for mine, theirs in zip(found.points.T, expected.T, strict=True):
        np.testing.assert_allclose(abs(mine), abs(theirs), atol=1e-4)
    np.testing.assert_allclose(found.explained, pca.explained_variance_ratio_, atol=1e-4)
    assert (found.predicted == onnx.run_net(NET, TENSORS, X).argmax(1)).all()
    assert is_picture(embed.draw_embedding(found, "abcd"))


def test_neighbours_in_the_features_stay_neighbours_under_t_sne():
    pytest.importorskip("sklearn")
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 15)
    values = 20 * np.eye(8)[groups] + draw.standard_normal((45, 8))
    points = embed.project_tsne(values, 0)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(45)
    assert (groups[apart.argmin(1)] == groups).all()


def test_an_embedding_of_two_images_or_by_an_unknown_method_is_refused():
    with pytest.raises(DataError, match="three labelled images"):
        embed.embed_images(NET, TENSORS, X[:2], np.array([0, 1]))
    with pytest.raises(ModelError, match="did you mean 'tsne'"):
        embed.embed_images(NET, TENSORS, X, np.zeros(20, int), "t-sne")


# Filters by hand ----------------------------------------------------------------------------------

kernels = st.one_of(
    st.sampled_from(sorted(filters_by_hand.KERNELS)),
    st.integers(1, 4).flatmap(
        lambda w: st.lists(st.lists(st.integers(-5, 5), min_size=w, max_size=w), min_size=1, max_size=4)
    ),
)


@settings(deadline=None, max_examples=20)
@given(kernels, st.integers(1, 3), st.sampled_from(["valid", "same", 1, (0, 1, 2, 0)]), st.data())
def test_a_filter_by_hand_is_torchs_convolution_and_its_sum_the_maps_value(kernel, stride, padding, data):
    image = np.random.default_rng(7).integers(0, 256, (9, 11), dtype=np.uint8)
    found = filters_by_hand.filter_image(image, kernel, stride, padding)
    weights = torch.tensor(filters_by_hand.KERNELS.get(kernel, kernel) if isinstance(kernel, str) else kernel)
    x = torch.tensor(image, dtype=torch.float64)[None, None]
    if padding != "same":
        top, bottom, left, right = {"valid": (0,) * 4, 1: (1,) * 4}.get(padding, padding)
        x = torch.nn.functional.pad(x, (left, right, top, bottom))
        expected = torch.nn.functional.conv2d(x, weights.double()[None, None], stride=stride)[0, 0].numpy()
        np.testing.assert_allclose(found.map, expected, atol=1e-9)
    row, column = (data.draw(st.integers(0, n - 1)) for n in found.map.shape)
    at = found.at(row, column)
    assert at.products.sum() == pytest.approx(found.map[row, column], abs=1e-9) == at.value
    assert (at.products == at.patch * at.kernel).all()
    assert is_picture(filters_by_hand.draw_filtered(found))


def test_the_arithmetic_of_one_place_reads_as_patch_times_kernel_is_products():
    image = np.arange(0, 90, 10, dtype=np.uint8).reshape(3, 3)
    told = str(filters_by_hand.filter_image(image, "vertical").at(0, 0))
    assert told == (
        " 0 10 20      1  0 -1       0   0 -20\n"
        "30 40 50  ×   1  0 -1  =   30   0 -50\n"
        "60 70 80      1  0 -1      60   0 -80\n"
        "sum of the 9 products at row 0, column 0: -60"
    )
    colours = filters_by_hand.filter_image(np.stack([image] * 3, 2), [[[1, 0]], [[0, 0.5]], [[1, 1]]]).at(0, 0)
    assert str(colours) == (
        "channel 0\n 0 10  ×    1   0  =   0  0\nchannel 1\n 0 10  ×    0 0.5  =   0  5\n"
        "channel 2\n 0 10  ×    1   1  =   0 10\nsum of the 6 products at row 0, column 0: 15"
    )


def test_colours_are_read_in_gray_by_one_matrix_and_as_three_by_three():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    gray = filters_by_hand.filter_image(image, "identity").map
    assert (gray == (image @ [0.299, 0.587, 0.114]).round()[1:-1, 1:-1]).all()
    blue = filters_by_hand.filter_image(image, "[[[0]], [[0]], [[2]]]").map
    np.testing.assert_allclose(blue, 2.0 * image[..., 2])


@pytest.mark.parametrize(
    "kernel, error, says",
    [
        ("sobbel", NetError, "did you mean 'sobel'"),
        ("[[1, 2], [3]]", NetError, "this is not a kernel"),
        ("[[1, 2]", NetError, "not a matrix of numbers"),
        ("[[__import__('os').getcwd()]]", NetError, "not a matrix of numbers"),
        ("[" * 5000, NetError, "not a matrix of numbers"),
        ("[['a']]", NetError, "this is not a kernel"),
        ("[]", NetError, "this is not a kernel"),
        ("[[1e999]]", NetError, "finite"),
        ([[1.0] * 32], NetError, "at most 31"),
        ([[1.0] * 9], ShapeError, "does not fit"),
    ],
)
def test_what_is_no_kernel_is_refused_and_nothing_in_its_text_is_run(kernel, error, says):
    with pytest.raises(error) as caught:
        filters_by_hand.filter_image(np.zeros((5, 5), np.uint8), kernel)
    assert says in str(caught.value)


def test_what_is_no_image_and_a_place_beyond_the_map_are_refused():
    with pytest.raises(DataError, match="uint8"):
        filters_by_hand.filter_image(np.zeros((5, 5)))
    with pytest.raises(DataError, match="3×3, from 0"):
        filters_by_hand.filter_image(np.zeros((5, 5), np.uint8)).at(3, 0)


# The page -----------------------------------------------------------------------------------------


def test_the_page_is_one_file_with_every_part_and_no_name_breaks_out_of_it():
    image = np.full((12, 12, 3), 90, np.uint8)
    html = image_page.render_image_page(
        NET, TENSORS, X[0], image, ["<b>a</b>", "b", "c", "d"], name="<script>alert(1)</script>"
    )
    assert "<script" not in html and "<b>a</b>" not in html
    assert html.count("data:image/png;base64,") == 2 + len(attribution.ATTRIBUTION_METHODS)
    assert html.count("higher is better") == len(attribution.ATTRIBUTION_METHODS)
    assert "http://" not in html and "https://" not in html and 'src="data:' in html


def test_the_page_asks_about_the_likeliest_class_where_none_is_named():
    image, classes = np.full((12, 12, 3), 90, np.uint8), ["ant", "bee", "cat", "dog"]
    for target, asked in ((0, None), (2, None), (2, 0), (1, 3)):
        html = image_page.render_image_page(NET, lean_towards(target), X[0], image, classes, target=asked)
        assert f"Orange is evidence for {classes[target if asked is None else asked]}," in html
        assert f"small: {classes[target]} " in html


def test_a_net_without_maps_has_no_grad_cam_and_one_without_convolution_no_filters():
    net = Net((1, 4, 4), [Flatten(), Dense(3)])
    html = image_page.render_image_page(
        net, plain.draw_tensors(net), X[0, :1, :4, :4], np.full((4, 4, 1), 9, np.uint8), "abc"
    )
    assert "grad-cam" not in html and "First filters" not in html and "occlusion" in html


# Sheets -------------------------------------------------------------------------------------------


def test_pictures_of_different_sizes_come_beside_and_below_each_other_whole():
    a, b = np.arange(18, dtype=np.uint8).reshape(2, 3, 3), np.array([20, 21, 22, 23], np.uint8).reshape(4, 1, 1)
    row = sheet.place_beside([a, b], gap=2)
    assert row.shape == (4, 6, 3)
    assert (row[:2, :3] == a).all() and (row[2:, :3] == 255).all() and (row[:, 5, 1] == [20, 21, 22, 23]).all()
    column = sheet.place_below([a, b], gap=1)
    assert (
        column.shape == (7, 3, 3)
        and (column[:2] == a).all()
        and (column[3:, 0, 2] == [20, 21, 22, 23]).all()
        and (column[2] == 255).all()
    )


def test_words_that_the_font_within_pillow_lacks_are_written_plainly(monkeypatch):
    from PIL import ImageFont

    monkeypatch.setattr(sheet, "load_font", lambda size: (ImageFont.load_default(size), False))
    assert (sheet.draw_text("3×3 é") == sheet.draw_text("3x3 e")).all()
