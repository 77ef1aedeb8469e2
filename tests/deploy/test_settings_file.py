"""deploy/mgr.toml: every setting, with its default, and nothing else."""

from __future__ import annotations

import re
import tomllib

import pytest

from mgr.settings import FIELDS, Settings, load
from tests.support.tree import ROOT

SAMPLE = ROOT / "deploy/mgr.toml"
PLACES = {"id"}
"""Settings whose default depends on the host; the sample shows an example."""


@pytest.fixture(scope="module")
def uncommented(tmp_path_factory):
    """The sample with every setting switched on."""
    file = tmp_path_factory.mktemp("settings") / "mgr.toml"
    file.write_text(re.sub(r"^# (\w+ = )", r"\1", SAMPLE.read_text(), flags=re.MULTILINE))
    return file


def test_the_sample_as_it_is_changes_nothing():
    """All of it is comments: a copy of it is a valid start."""
    assert tomllib.loads(SAMPLE.read_text()) == {}


def test_the_sample_names_every_setting_in_their_order(uncommented):
    """A new setting that the sample does not show fails here."""
    assert tuple(tomllib.loads(uncommented.read_text())) == FIELDS


def test_the_sample_shows_the_defaults(uncommented):
    """What it says is what holds when the line is left as it is."""
    loaded = load(file=str(uncommented))

    for name in set(FIELDS) - PLACES:
        assert getattr(loaded, name) == getattr(Settings(), name), name
