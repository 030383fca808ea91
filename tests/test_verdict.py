"""The verdict: what a report comes to in words, with its numbers worked out anew from the formulas."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from striate.data.check.label_errors import Doubts, LabelError
from striate.language import use_language
from striate.metrics.classification import score_probabilities
from striate.metrics.hard_images import find_hard_images
from striate.metrics.verdict import count_more_images, find_weakest, format_verdict, judge_report, restore_verdict

Z = 1.959963984540054


def wilson(share, n):
    """Wilson 1927, as statsmodels' proportion_confint(method="wilson") has it."""
    middle, half = share + Z**2 / 2 / n, Z * np.sqrt(share * (1 - share) / n + (Z / 2 / n) ** 2)
    return (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)


def scored(table):
    """The report of a confusion matrix."""
    truth = [(t, p) for t, row in enumerate(table) for p, n in enumerate(row) for _ in range(n)]
    labels, answers = np.array(truth).T
    return score_probabilities(np.eye(len(table))[answers], labels, tuple("abcdefgh"[: len(table)]))


@pytest.mark.parametrize("right, images", [(19, 20), (12, 12), (150, 180), (1, 2), (0, 9), (9_800, 10_000)])
def test_so_many_more_images_bring_the_interval_within_two_points_and_one_fewer_does_not(right, images):
    n = np.arange(images, 20_000)
    low, high = wilson(right / images, n)
    first = n[np.argmax((high - low) / 2 <= 0.02 + 1e-12)]
    assert count_more_images(right, images) == first - images


def test_the_verdict_says_how_many_are_right_how_surely_and_where_it_is_weakest():
    report = scored([[10, 0, 0], [1, 4, 3], [0, 0, 2]])
    low, high = wilson(16 / 20, 20)
    verdict = judge_report(report, "test")
    first, more, weakest = verdict.tell()
    assert first == f"Right on 16 of 20 new pictures like these (95 % sure: {100 * low:.0f} to {100 * high:.0f} %)."
    assert more == f"To know it within ±2 points, test about {-(-count_more_images(16, 20) // 100) * 100:,} more."
    assert weakest == "Weakest: b (4 of 8 right), taken for c."
    assert "validation pictures" in judge_report(report, "valid").tell()[0]


def test_the_weakest_class_is_the_one_of_surely_lowest_recall_not_one_unlucky_image():
    report = scored([[0, 1, 0], [20, 20, 5], [0, 0, 30]])
    ends = [wilson(row[k] / sum(row), sum(row))[1] for k, row in enumerate(report.confusion)]
    assert find_weakest(report).truth == "abc"[int(np.argmin(ends))] == "b"
    assert find_weakest(scored([[3, 0], [0, 4]])) is None


def test_advice_is_ranked_by_the_share_of_answers_that_it_can_change():
    report = replace(scored([[30, 2, 0], [6, 40, 0], [5, 1, 4]]), known=3)
    doubts = Doubts((LabelError(0, 0, 1, 0.1, 0.9),), ("0.png",), ("a", "b", "c"), 50, 0.9, False)
    verdict = judge_report(report, "test", trained={"a": 300, "b": 280, "c": 40}, doubts=doubts)
    found = {item.kind: item.worth for item in verdict.advice}
    assert found == pytest.approx({"pair": 8 / 88, "few": 6 / 88, "copies": 3 / 88, "labels": 1 / 50})
    assert list(found) == ["pair", "few", "copies", "labels"]
    told = verdict.tell_advice()
    assert told[0] == "Add pictures of a and b: 8 of one were taken for the other. Worth 9.1 points at most."
    assert "it has 40 to train on, the median class 280, and 6 of its 10 here are wrong" in told[1]
    assert [line[:4] for line in format_verdict(verdict)[-4:]] == ["  1.", "  2.", "  3.", "  4."]


def test_a_flawless_report_has_no_weakness_and_no_advice():
    verdict = judge_report(scored([[900, 0], [0, 900]]), "test", trained={"a": 1, "b": 900})
    assert verdict.tell() == ["Right on 1,800 of 1,800 new pictures like these (95 % sure: 99.8 to 100.0 %)."]
    assert verdict.weakest is None and not verdict.advice


def test_a_verdict_comes_back_from_its_json_and_is_said_in_korean():
    verdict = judge_report(scored([[9, 3], [1, 5]]), "valid", trained={"a": 90, "b": 20})
    again = restore_verdict(json.loads(json.dumps(verdict.as_dict())))
    assert again == verdict
    with use_language("ko"):
        told = " ".join([*again.tell(), *again.tell_advice()])
    assert "검증 사진 18장 중 14장을 맞혔습니다" in told and "Right" not in told and "Worth" not in told


def images(draw, count=400):
    return draw.integers(90, 160, (count, 12, 12, 3)).astype(np.uint8)


def darken(x):
    return x // 4


def brighten(x):
    return 255 - (255 - x) // 4


def blur(x):
    for axis in (1, 2, 1, 2):
        x = x / 2 + np.roll(x, 1, axis) / 4 + np.roll(x, -1, axis) / 4
    return x.astype(np.uint8)


def blank(x):
    return np.full_like(x, 128) + x % 2


@pytest.mark.parametrize("kind, change", [("dark", darken), ("bright", brighten), ("blurred", blur), ("blank", blank)])
def test_images_of_a_quality_that_are_wrong_beyond_chance_are_found_and_counted(kind, change):
    draw = np.random.default_rng(3)
    x, right = images(draw), np.ones(400, bool)
    hard = draw.permutation(400)[:40]
    x[hard] = change(x[hard])
    right[hard[:20]] = False
    right[np.setdiff1d(np.arange(400), hard)[:10]] = False
    found = {group.kind: group for group in find_hard_images(x, right)}
    assert found[kind][1:] == (40, 20, 360, 10)
    verdict = judge_report(scored([[370, 15], [15, 0]]), "test", hard=[found[kind]])
    worth = next(item.worth for item in verdict.advice if item.kind == kind)
    assert worth == pytest.approx((20 - 40 * 10 / 360) / 400)


def test_errors_that_fall_by_chance_are_blamed_on_no_quality():
    draw = np.random.default_rng(5)
    assert not find_hard_images(images(draw), draw.random(400) < 0.8)
    assert not find_hard_images(images(draw, 60), np.zeros(60, bool))
