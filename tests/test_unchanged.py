"""Nothing of the zoo changes unnoticed: neither a net, nor what is said and drawn of it."""

import json

import pytest

from striate.architecture import zoo

from . import zoo_digests


@pytest.mark.parametrize("form", zoo_digests.FORMS)
def test_no_net_of_the_zoo_has_changed_unnoticed(form):
    """Where one was changed on purpose: `python -m tests.zoo_digests`."""
    kept = json.loads(zoo_digests.FILE.read_text())["nets"]
    assert list(kept) == list(zoo.NAMES)
    for name in zoo.NAMES:
        assert zoo_digests.digest_net(name, form) == kept[name][form], name


def test_nothing_that_is_said_or_drawn_of_a_net_has_changed_unnoticed():
    """Where it was changed on purpose, and looked at: `python -m tests.zoo_digests`."""
    assert zoo_digests.digest_descriptions() == json.loads(zoo_digests.FILE.read_text())["descriptions"]
