"""Nothing of the zoo changes unnoticed: neither a net, nor what is said and drawn of it."""

import json

import pytest

from striate.architecture import zoo

from . import zoo_digests

KEPT = json.loads(zoo_digests.FILE.read_text())
"""Where a net or its account was changed on purpose, and looked at: `python -m tests.zoo_digests`."""


def test_the_digests_are_those_of_the_whole_zoo_and_of_one_net_of_each_family():
    assert list(KEPT["nets"]) == list(zoo.NAMES)
    assert list(KEPT["descriptions"]) == zoo_digests.list_examples()


@pytest.mark.parametrize("name", KEPT["nets"])
def test_no_net_of_the_zoo_has_changed_unnoticed(name):
    assert {form: zoo_digests.digest_net(name, form) for form in zoo_digests.FORMS} == KEPT["nets"][name]


@pytest.mark.parametrize("name", KEPT["descriptions"])
def test_nothing_that_is_said_or_drawn_of_a_net_has_changed_unnoticed(name):
    found = {kind: zoo_digests.digest_text(text) for kind, text in zoo_digests.describe_net(name).items()}
    assert found == KEPT["descriptions"][name]
