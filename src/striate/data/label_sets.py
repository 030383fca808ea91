"""Several labels a picture: what labels a picture has, as one text, by which splits tell pictures apart.

Where a data set is read so, each set of labels is one class of its listing: that is how splits are drawn in proportion,
and how the same file with two sets of labels is found. Training and measuring take the sets apart again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import DataError, suggest_name
from ..language import say
from .images import Images
from .listing import is_label_set, order_classes, shorten_list

# Between the labels of a set; no label may hold it.
BETWEEN = ";"


def format_label_set(labels: Iterable[str]) -> str:
    """The text of a set of labels, each once, in order.

    >>> format_label_set(["snow", "rain", "snow"]), format_label_set([])
    ('{rain;snow}', '{}')
    """
    return "{" + BETWEEN.join(order_classes(set(labels))) + "}"


def parse_label_set(text: str) -> tuple[str, ...]:
    """The labels of a set, as `format_label_set` wrote it. Raises DataError for another text.

    >>> parse_label_set("{rain;snow}"), parse_label_set("{}")
    (('rain', 'snow'), ())
    """
    if not is_label_set(text):
        raise DataError(text, say("this is no set of labels"), rule="{rain;snow}")
    return tuple(text[1:-1].split(BETWEEN)) if text != "{}" else ()


def list_labels(sets: Iterable[str]) -> tuple[str, ...]:
    """Each label that occurs in the sets, once, in the order of a network's outputs.

    >>> list_labels(["{rain;snow}", "{}", "{sunny}"])
    ('rain', 'snow', 'sunny')
    """
    return order_classes({label for text in sets for label in parse_label_set(text)})


def make_targets(images: Images, labels: Sequence[str]) -> np.ndarray:
    """bool N×K: which of the `labels` each picture has. Raises DataError for a label that is not among them."""
    place = {label: k for k, label in enumerate(labels)}
    rows = np.zeros((len(images.classes), len(labels)), bool)
    used = set(images.y.tolist())
    for row, text in enumerate(images.classes):
        for label in parse_label_set(text) if row in used else ():
            if label not in place:
                what = say("there is a label '{label}' that the model lacks", label=label)
                rule = shorten_list(tuple(labels))
                raise DataError(say("labels"), what, rule=rule, hint=suggest_name(label, labels))
            rows[row, place[label]] = True
    return rows[images.y]


def check_learnable(targets: np.ndarray, labels: Sequence[str], least: int) -> None:
    """Raise DataError for a label that fewer than `least` pictures have, or fewer than `least` lack."""
    for label, count in zip(labels, targets.sum(0).tolist(), strict=True):
        if min(count, len(targets) - count) < least:
            what = say("this label cannot be learnt: it is almost never there, or almost always")
            got = say("{count:,} of {images:,} pictures have it", count=count, images=len(targets))
            rule = say("{least} pictures or more with it, and as many without", least=least)
            raise DataError(say("label {label}", label=label), what, got=got, rule=rule)
