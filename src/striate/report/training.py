"""How a run was trained, as charts: curves over the epochs, and of a transfer over the strengths of its head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log10
from typing import Any

from ..fitting.early_end import explain_early_end
from ..language import join_texts, say
from ..metrics.numbers import format_percent
from ..metrics.strengths import Tried, find_chosen
from ..terminal import format_clock, format_count
from .charts import ChartLine, PlotFrame, choose_ticks, draw_axes, draw_curves, draw_mark, draw_series, wrap_chart
from .markup import Markup, join_markup, tag

Epochs = Sequence[Mapping[str, Any]]


def describe_training(epochs: Epochs) -> list[str]:
    """For how long, and of a transfer what was trained, in the few words that follow "trained on …"."""
    if not epochs:
        return []
    seconds = sum(row.get("seconds") or 0 for row in epochs)
    took = [format_duration(seconds)] if seconds else []
    if not is_transfer(epochs):
        return [say("for {epochs}", epochs=format_count(len(epochs), "epoch")), *took]
    tuned = len(epochs) - 1
    if not tuned:
        return [say("a new head on published weights"), *took]
    return [say("a new head on published weights, fine-tuned for {epochs}", epochs=format_count(tuned, "epoch")), *took]


def is_transfer(epochs: Epochs) -> bool:
    """Whether the first row is a head alone, which is a transfer's epoch 0."""
    return bool(epochs) and epochs[0]["epoch"] == 0


def render_training(
    epochs: Epochs, recipe: Mapping[str, Any] | None = None, strengths: Sequence[Tried] = ()
) -> Markup | None:
    """What was trained: of a transfer first its head, and epochs where there was fine-tuning."""
    recipe = recipe or {}
    if not is_transfer(epochs):
        return render_epochs(say("Training"), epochs, recipe) if epochs else None
    head = render_head(strengths, epochs[0])
    return join_markup(head, render_epochs(say("Fine-tuning"), epochs, recipe)) if len(epochs) > 1 else head


def render_epochs(title: str, epochs: Epochs, recipe: Mapping[str, Any]) -> Markup:
    """Loss and accuracy over the epochs, and a user's metrics; the recipe names the loss where it is a user's too."""
    own_loss = recipe.get("own_loss")
    valid = [row for row in epochs if is_finite(row.get("valid_acc"))]
    best = max(valid, key=lambda row: (row["valid_acc"], -(row.get("valid_loss") or 0)))["epoch"] if valid else None

    def draw_figure(name: str, lines: Sequence[ChartLine], unit: str = "") -> Markup:
        chart = draw_curves(lines, title=name, unit=unit, best=best)
        return tag("figure", tag("h3", name), chart, tag("ul", *keys, class_="keys"))

    def lines(name: str) -> list[ChartLine]:
        return [
            ChartLine(label, style, [(row["epoch"], row[key]) for row in epochs if row.get(key) is not None])
            for label, style, key in ((say("training"), "train", name), (say("validation"), "valid", f"valid_{name}"))
        ]

    keys = [tag("li", tag("i"), say("training images"), class_="train")]
    if valid:
        keys.append(tag("li", tag("i"), say("validation images"), class_="valid"))
    loss = say("Loss: {name}", name=own_loss) if own_loss else say("Cross-entropy (nats per image)")
    figures = [draw_figure(loss, lines("loss")), draw_figure(say("Accuracy"), lines("acc"), "%")]
    keys = keys[1:]  # the metrics are measured on validation images alone
    for name in epochs[-1].get("metrics", {}):
        points = [(row["epoch"], row.get("metrics", {}).get(name)) for row in epochs]
        figures.append(draw_figure(name, [ChartLine(say("validation"), "valid", points)]))
    told = [explain_best(epochs, best)]
    if recipe.get("selection") == "last" and not is_transfer(epochs):
        told.append(say("The model is that of the last epoch, at whose end the learning rate had fallen to 0."))
    if early := None if is_transfer(epochs) else explain_early_end(epochs, recipe):
        told.append(say("It {ended}.", ended=early))
    return render_chart_section(title, join_texts(" ", told), figures)


def explain_best(epochs: Epochs, best: int | None) -> str:
    if best is None:
        return say("No validation images.")
    if not is_transfer(epochs):
        return say("Highest validation accuracy in epoch {best}, at the dotted line.", best=best)
    if not best:
        return say("Epoch 0 is the head alone, cross-validated. No epoch of fine-tuning was better, so it was kept.")
    return say(
        "Epoch 0 is the head alone, cross-validated. Highest validation accuracy in epoch {best}, at the dotted line.",
        best=best,
    )


def render_head(strengths: Sequence[Tried], row: Mapping[str, Any]) -> Markup:
    """Loss and accuracy of the head over the strengths that were tried; of a run without them what it came to."""
    title = say("The head, cross-validated")
    if not strengths:
        lead = say(
            "Loss {loss:.4f} and accuracy {accuracy}, on images that its heads had not seen.",
            loss=row["loss"], accuracy=format_percent(row["acc"]),
        )  # fmt: skip
        return render_chart_section(title, lead, [])
    chosen = find_chosen(strengths)
    lead = say(
        "A linear head on the frozen network, tried at {count} strengths of L2 regularisation, from strong to weak, "
        "until the loss rose. Each was measured on images that its heads had not seen. Chosen: {strength:g}, at the "
        "dotted line, with loss {loss:.4f} and accuracy {accuracy}.",
        count=len(strengths), strength=chosen["strength"], loss=chosen["loss"],
        accuracy=format_percent(chosen["accuracy"]),
    )  # fmt: skip
    figures = [
        tag("figure", tag("h3", name), draw_strengths(strengths, key, name, unit))
        for name, key, unit in (
            (say("Cross-entropy (nats per image)"), "loss", ""),
            (say("Accuracy"), "accuracy", "%"),
        )
    ]
    return render_chart_section(title, lead, figures)


def draw_strengths(strengths: Sequence[Tried], key: str, title: str, unit: str = "") -> Markup:
    """A line over the strengths, by their logarithm, each marked; the chosen one at the dotted line."""
    scale = 100.0 if unit else 1.0
    points: list[tuple[float, float | None]] = sorted(
        (log10(item["strength"]), scale * item[key]) for item in strengths
    )
    values = [y for _, y in points if y is not None]
    ticks = choose_ticks(min(values) if unit else 0.0, max(values), top=100.0 if unit else None)
    frame = PlotFrame(points[0][0], max(points[-1][0], points[0][0] + 1e-9), ticks[0], ticks[-1])
    axes = draw_axes(
        frame, [x for x, _ in points], ticks, say("L2 strength"), unit and f" {unit}", mark=lambda x: f"{10**x:.3g}"
    )
    at = frame.x(log10(find_chosen(strengths)["strength"]))
    told = say("{title}: {{y:.4g}}{unit}", title=title, unit=unit)
    line = draw_series(frame, ChartLine(title, "valid", points), told)
    return wrap_chart(join_markup(axes, draw_mark(at, say("chosen")), line), title)


def render_chart_section(title: str, lead: str, figures: Sequence[Markup]) -> Markup:
    pair = tag("div", *figures, class_="pair") if figures else None
    return tag("section", tag("h2", title), tag("p", lead, class_="lead"), pair)


def is_finite(value: Any) -> bool:
    return value is not None and isfinite(value)


def format_duration(seconds: float) -> str:
    """
    >>> format_duration(41.3), format_duration(754), format_duration(7510)
    ('41 s', '12 min 34 s', '2 h 5 min')
    """
    return say("{seconds:.1f} s", seconds=seconds) if round(seconds) < 1 else format_clock(seconds)
