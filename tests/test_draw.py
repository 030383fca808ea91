"""The picture of a net: well-formed, to scale, complete, and within its own page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from striate import nets as zoo
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.summaries.draw import DRAW, draw_net, find_repeats
from striate.summaries.summary import summarise_net

from .random_nets import nets

SVG = "{http://www.w3.org/2000/svg}"


def blocks(net: Net) -> dict[str, ElementTree.Element]:
    """The front face of each drawn layer by its path, as its title has it."""
    root = ElementTree.fromstring(draw_net(net))
    found = {}
    for holder in root.iter():
        title = holder.find(f"{SVG}title")
        if title is not None and ": " in title.text:
            face = holder.find(f"{SVG}rect")
            found[title.text.split(": ")[0]] = holder if face is None else face
    return found


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name))


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "googlenet", "vgg11_bn"])
def test_every_layer_is_in_the_picture_with_its_rules(name):
    net = zoo.build(name)
    assert set(blocks(net)) == {row.path for row in summarise_net(net).leaves if not isinstance(row.layer, L.Identity)}
    for part in ("(5·5·1 + 1)·6 = 156", "117,600 MACs", "6×28×28"):
        assert part in draw_net(zoo.lenet5())


def test_blocks_are_to_scale():
    """Heights of 28, 10 and 5 rows, and breadths of 6 and 16 channels, by the square root."""
    found = blocks(zoo.lenet5())
    height = {path: number(found[path], "height") for path in ("conv1", "conv2", "pool2")}
    assert height["conv1"] / height["conv2"] == pytest.approx((28 / 10) ** 0.5, rel=0.01)
    assert height["conv2"] / height["pool2"] == pytest.approx((10 / 5) ** 0.5, rel=0.01)
    assert number(found["conv2"], "width") / number(found["conv1"], "width") == pytest.approx((16 / 6) ** 0.5, rel=0.01)


def test_branches_run_beside_each_other_between_their_fork_and_their_join():
    found = blocks(zoo.googlenet())
    heads = [found[f"inception4a.{branch}"] for branch in ("one.conv1", "three.conv1", "five.conv1", "pool.pool1")]
    tops, bottoms = [number(b, "y") for b in heads], [number(b, "y") + number(b, "height") for b in heads]
    assert all(bottom < top for bottom, top in zip(bottoms, tops[1:], strict=False))
    assert all(number(found["inception4a.three.conv2"], "x") > number(b, "x") for b in heads[:3])


def test_equal_blocks_in_a_row_are_drawn_once():
    """ResNet-50 has 3, 4, 6 and 3 blocks, of which the first of each stage differs (He et al. 2015, table 1)."""
    texts = re.findall(r'class="times"[^>]*>([^<]*)<', draw_net(zoo.resnet50()))
    assert texts == ["×2", "×3", "×5", "×2"]


@settings(deadline=None, max_examples=60)
@given(nets(layers=6))
def test_every_picture_is_well_formed_and_nothing_lies_outside_of_it(net):
    root = ElementTree.fromstring(draw_net(net))
    _, _, width, height = map(float, root.get("viewBox").split())
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("class") != "page":
            assert 0 <= number(rect, "x") and number(rect, "x") + number(rect, "width") <= width
            assert 0 <= number(rect, "y") and number(rect, "y") + number(rect, "height") <= height
    for text in root.iter(f"{SVG}text"):
        assert 0 <= number(text, "x") <= width and 0 <= number(text, "y") <= height


def test_a_name_is_escaped_and_side_heads_hang_dashed():
    head = L.SideHead(L.GlobalAvgPool(), L.Dense(2), name="aux")
    net = Net((1, 8, 8), [L.Conv(4, 3), head, L.Flatten(), L.Dense(2)], name="a<b>&c")
    text = draw_net(net)
    assert "a&lt;b&gt;&amp;c" in text and "wire side" in text
    assert "aux.dense1" in blocks(net)


@pytest.mark.parametrize(
    "layer, text",
    [
        (L.Conv(8, 3), "3×3"),
        (L.Conv(8, 3, 2), "3×3 /2"),
        (L.Conv(8, (3, 5), 2, groups=4), "3×5 /2 dw"),
        (L.MaxPool(2), "max 2×2"),
        (L.MaxPool(3, 2), "max 3×3 /2"),
        (L.AvgPool(3, 1), "avg 3×3 /1"),
    ],
    ids=repr,
)
def test_a_window_says_its_kernel_and_its_stride_where_that_is_not_the_usual_one(layer, text):
    assert DRAW(layer).text == text


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=9), st.integers(0, 8))
def test_a_repeat_is_the_longest_run_of_up_to_three_layers_again_and_again(keys, at):
    assume(at < len(keys))
    runs = [
        (period, times)
        for period in (1, 2, 3)
        for times in range(2, len(keys) + 1)
        if keys[at : at + period * times] == keys[at : at + period] * times and at + period * times <= len(keys)
    ]
    period, times = find_repeats(keys, at)
    longest = max((p * t for p, t in runs), default=1)
    assert period * times == longest
    assert (period, times) == min(((p, t) for p, t in runs if p * t == longest), default=(1, 1))
