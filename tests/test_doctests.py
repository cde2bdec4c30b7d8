"""The examples in docstrings of what a user starts from run and print what they say."""

import doctest
import importlib

import pytest

MODULES = [
    "names",
    "run.advance",
    "run.inputs",
    "run.rollout",
    "run.stream",
    "trackers",
    "types",
    "vision.boxes",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    found = doctest.testmod(importlib.import_module(f"jtrack.{name}"))
    assert found.attempted > 0 and found.failed == 0
