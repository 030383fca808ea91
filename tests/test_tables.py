"""The summary as people read it: nothing cut, every column adding up, the same numbers in each form."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from striate import nets as zoo
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.errors import NetError
from striate.summaries.columns import format_memory
from striate.summaries.summary import summarise_net
from striate.summaries.table_pages import render_table_html, render_table_markdown
from striate.summaries.tables import render_table_text

from .random_nets import nets

LENET = """\
lenet5  1×32×32 → 10

layer    kind         output    output size                            parameters     MACs  field
─────────────────────────────────────────────────────────────────────────────────────────────────
conv1    Conv 6@5×5   6×28×28   (32 + 2·0 − 5)/1 + 1 = 28     (5·5·1 + 1)·6 = 156  117,600      5
relu1    ReLU         6×28×28                                                                   5
pool1    MaxPool 2×2  6×14×14   (28 + 2·0 − 2)/2 + 1 = 14                                       6
conv2    Conv 16@5×5  16×10×10  (14 + 2·0 − 5)/1 + 1 = 10  (5·5·6 + 1)·16 = 2,416  240,000     14
"""


def test_lenet5_reads_as_in_the_textbook():
    assert render_table_text(summarise_net(zoo.lenet5()), 120).startswith(LENET)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_every_zoo_net_is_printed_whole_on_120_columns(name):
    s = summarise_net(zoo.build(name))
    text = render_table_text(s, 120)
    assert "…" not in text and "..." not in text
    assert max(map(len, text.splitlines())) <= 120
    for row in s.leaves:
        for part in (row.path.rsplit(".", 1)[-1], row.label, row.size_rule, row.params_rule, f"{row.macs:,}"):
            assert part in text or " ".join(part.split()) in " ".join(text.split()), (row.path, part)


@settings(deadline=None, max_examples=60)
@given(nets())
def test_no_width_cuts_a_number(net):
    s = summarise_net(net)
    for width in (30, 60, 90):
        text = render_table_text(s, width)
        words = set(text.split())
        for row in s.leaves:
            assert not row.params or f"{row.params:,}" in words
            assert not row.macs or {f"{row.macs:,}", f"({row.macs:,})"} & words


def test_the_columns_add_up_to_the_totals():
    block = L.Parallel([L.Conv(8, 3, padding=1), L.BatchNorm()], L.Identity(), join="add", name="block")
    net = Net((8, 6, 6), [L.Sequence(block, L.ReLU(), name="stage"), L.GlobalAvgPool(), L.Dense(3)])
    for depth in (None, 1, 2):
        text = render_table_text(summarise_net(net), 120, show="params", depth=depth)
        rows = text.split("─\n")[1].splitlines()[:-1]
        numbers = [int(n.replace(",", "")) for row in rows for n in re.findall(r"(?<=\s)[\d,]+$", row)]
        assert sum(numbers) == (3 * 3 * 8 + 1) * 8 + 2 * 8 + (8 + 1) * 3


def test_depth_folds_a_stage_into_one_row_with_its_sums():
    stage = L.Sequence(L.Conv(8, 3), L.ReLU(), L.Conv(8, 3), name="stage")
    text = render_table_text(summarise_net(Net((3, 9, 9), [stage, L.Flatten(), L.Dense(2)])), 120, depth=1)
    (line,) = [line for line in text.splitlines() if line.startswith("stage")]
    assert line.split()[:4] == ["stage", "3", "layers", "8×5×5"]
    assert f"{(27 + 1) * 8 + (72 + 1) * 8:,}" in line
    assert "conv1" not in text


def test_show_chooses_the_columns_and_names_the_nearest_of_an_unknown_one():
    head = render_table_text(summarise_net(zoo.lenet5()), 120, show="params,macs").splitlines()[2]
    assert head.split() == ["layer", "parameters", "MACs"]
    with pytest.raises(NetError, match="did you mean 'params'"):
        render_table_text(summarise_net(zoo.lenet5()), 120, show="parms")
    with pytest.raises(NetError, match="depth must be at least 1"):
        render_table_text(summarise_net(zoo.lenet5()), 120, depth=0)


def test_colour_changes_no_character():
    s = summarise_net(zoo.lenet5())
    painted = render_table_text(s, 120, color=True)
    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[\d*m", "", painted) == render_table_text(s, 120)


def test_rich_prints_the_same_table():
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    s = summarise_net(zoo.lenet5())
    Console(file=out, width=100).print(s)
    assert [line.rstrip() for line in out.getvalue().splitlines()] == render_table_text(s, 100).splitlines()


class Cells(HTMLParser):
    """The text of each cell, row by row, and the tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def test_html_and_markdown_hold_the_cells_of_the_text():
    s = summarise_net(zoo.lenet5(input=(3, 32, 32)))
    page = Cells()
    page.feed(render_table_html(s))
    assert page.open == []
    (conv1,) = [row for row in page.rows if row and row[0] == "conv1"]
    size, params = "(32 + 2·0 − 5)/1 + 1 = 28", "(5·5·3 + 1)·6 = 456"
    assert conv1 == ["conv1", "Conv 6@5×5", "6×28×28", size, params, "352,800", "5"]
    assert f"| {' | '.join(conv1)} |" in render_table_markdown(s).splitlines()
    rows = [line for line in render_table_markdown(s).split("\n\n")[1].splitlines()]
    assert {line.count("|") for line in rows} == {8}
    assert s._repr_html_() == render_table_html(s)


def test_html_escapes_what_a_net_is_called():
    net = Net((1, 4, 4), [L.Flatten(), L.Dense(2)], name="<script>alert(1)</script>")
    assert "<script>" not in render_table_html(summarise_net(net))


@pytest.mark.parametrize(
    "n, text",
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.00 KiB"), (10_240, "10.0 KiB"), (150 * 2**20, "150 MiB")],
)
def test_bytes_are_written_in_three_digits(n, text):
    assert format_memory(n) == text
