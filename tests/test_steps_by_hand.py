"""A layer over a small grid, position by position: torch is the judge of every number, forward and backward."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import striate
from striate.cli import app
from striate.errors import DataError, NetError, ShapeError
from striate.inside.filters_by_hand import KERNELS, draw_filtered
from striate.inside.steps_by_hand import filter_grid

whole = st.integers(-9, 9)


@st.composite
def convolutions(draw):
    """A grid, filters that fit it, stride, padding and bias."""
    channels, filters = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    high, wide = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    padding = draw(st.integers(0, 2))
    sides = draw(st.integers(1, high)), draw(st.integers(1, wide))
    x = np.array(draw(st.lists(whole, min_size=channels * high * wide, max_size=channels * high * wide)), float)
    count = filters * channels * sides[0] * sides[1]
    weight = np.array(draw(st.lists(whole, min_size=count, max_size=count)), float)
    bias = draw(st.lists(whole, min_size=filters, max_size=filters))
    return (
        x.reshape(channels, high, wide),
        weight.reshape(filters, channels, *sides),
        draw(st.integers(1, 3)),
        padding,
        bias,
    )


def read_sum(line: str) -> tuple[float, float]:
    """The right side of a printed line as it stands, and what its terms come to."""
    terms, _, shown = line.partition(": ")[2].rpartition(" = ")
    plain = terms.replace("pad", "0").replace("·", "*")
    return float(shown), float(eval(plain, {"max": lambda *seen: max(seen)}))


def need_lines_that_add_up(text: str) -> None:
    """Every printed sum gives what is printed behind it: whole numbers, so exactly; means to what is shown."""
    lines = [line for line in text.splitlines() if re.match(r"(filter \d+, |channel \d+, )?row|(input|filter)\[", line)]
    assert lines
    for line in lines:
        if "no window reads it" not in line:
            shown, summed = read_sum(line)
            assert shown == pytest.approx(summed, rel=1e-4, abs=1e-4), line


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.randoms())
def test_a_convolution_and_its_gradients_are_torchs_and_every_line_adds_up(drawn, random):
    x, weight, stride, padding, bias = drawn
    image, filters = torch.tensor(x[None], requires_grad=True), torch.tensor(weight, requires_grad=True)
    want = F.conv2d(image, filters, torch.tensor(bias, dtype=torch.float64), stride, padding)
    found = striate.step(x, kernel=weight, stride=stride, padding=padding, bias=bias)
    assert np.array_equal(found.y, want[0].detach().numpy())
    dy = np.array([random.randint(-3, 3) for _ in range(found.y.size)], float).reshape(found.y.shape)
    want.backward(torch.tensor(dy[None]))
    back = found.backward(dy)
    assert np.array_equal(back.dx, image.grad[0].numpy())
    assert np.array_equal(back.tensors["weight"], filters.grad.numpy())
    need_lines_that_add_up(str(found))
    need_lines_that_add_up(str(back))


@settings(max_examples=40, deadline=None)
@given(st.lists(whole, min_size=16, max_size=16), st.sampled_from(["max", "avg"]), st.integers(1, 3), st.integers(1, 3))
def test_a_pooling_and_its_gradient_are_torchs(values, pool, size, stride):
    x = np.array(values, float).reshape(1, 4, 4)
    image = torch.tensor(x[None], requires_grad=True)
    want = (F.max_pool2d if pool == "max" else F.avg_pool2d)(image, size, stride)
    found = striate.step(x, pool=pool, size=size, stride=stride)
    want.sum().backward()
    assert np.allclose(found.y, want[0].detach().numpy()) and np.allclose(found.backward().dx, image.grad[0].numpy())
    need_lines_that_add_up(str(found))
    need_lines_that_add_up(str(found.backward()))


def test_the_text_says_size_unread_cells_and_the_result():
    text = str(striate.step([[1, 2, 3, 4]] * 4, kernel=[[1, 0], [0, 1]], stride=3))
    assert "⌊(4 + 2·0 − 2)/3⌋ + 1 = 1" in text and "never read: row 2, 3" in text and "never read: column 2, 3" in text
    assert text.endswith("output, 1×1\n  3")


def test_a_large_grid_tells_one_position_when_asked():
    found = striate.step(np.arange(400.0).reshape(20, 20), kernel="sobel")
    assert "at(row, column)" in str(found) and "row 0, column 0:" not in str(found)
    x = torch.arange(400.0, dtype=torch.float64).reshape(1, 1, 20, 20)
    want = F.conv2d(x, torch.tensor([[KERNELS["sobel"]]], dtype=torch.float64))
    assert found.at(3, 4).value == float(want[0, 0, 3, 4])


def test_as_data_it_has_the_trace_of_every_position():
    found = striate.step([[1, 2, 3], [4, 5, 6]], kernel=[[1, 1]], bias=2).as_dict()
    assert json.loads(json.dumps(found)) == found
    assert [item["value"] for item in found["positions"]] == np.ravel(found["output"]).tolist() == [5, 7, 11, 13]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (dict(grid=[[1, 2], [3]], pool="max"), DataError, "not a grid of numbers"),
        (dict(grid="nowhere.csv", pool="max"), DataError, "neither a grid of numbers nor a file"),
        (dict(grid=[[1, 2], [3, 4]]), NetError, "a kernel, or a pooling"),
        (dict(grid=[[1, 2], [3, 4]], pool="mean"), NetError, "no such pooling"),
        (dict(grid=[[1, 2], [3, 4]], kernel="sobel"), ShapeError, "3×3 window does not fit"),
        (dict(grid=[[[1, 2]], [[3, 4]]], kernel=[[[1]], [[1]], [[1]]]), NetError, "a matrix for each channel"),
    ],
)
def test_what_cannot_be_stepped_through_is_told(given, error, says):
    with pytest.raises(error, match=says):
        striate.step(**given)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(DataError, match="not the shape of the result"):
        striate.step([[1, 2], [3, 4]], pool="max").backward([[1, 2]])


def test_a_small_grid_is_drawn_with_its_numbers_and_not_as_a_black_square():
    grid = np.arange(16.0).reshape(4, 4) - 8
    found = filter_grid(grid.tolist(), "[[1, -1]]")
    assert np.array_equal(found.map, np.diff(-grid))
    drawn = draw_filtered(found)
    cell = drawn[8:42, 8:42]
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20 and (cell == cell[0, 0]).mean() < 0.99  # ink in the cell
    with pytest.raises(NetError, match="one filter at a time"):
        filter_grid([[1, 2]], [[[[1]]], [[[2]]]])


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_reads_a_csv_and_prints_what_python_does(tmp_path):
    (tmp_path / "grid.csv").write_text("1;2;3\n4;5;6\n7;8;9\n")
    grid, kernel = [[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[0, 1], [1, 0]]
    found = striate.step(grid, kernel=kernel)
    assert run("step", str(tmp_path / "grid.csv"), "--kernel", str(kernel)).strip() == str(found)
    assert run("step", str(grid), "--kernel", str(kernel), "--backward").strip() == str(found.backward())
    gradient = run("step", str(grid), "--kernel", str(kernel), "--gradient", "[[1,0],[0,2]]", "--json")
    assert json.loads(gradient)["input"] == found.backward([[1, 0], [0, 2]]).dx.tolist()
    assert run("step", str(grid), "--kernel", str(kernel), "--at", "1,1").startswith("step[0,1,1] = 14")
