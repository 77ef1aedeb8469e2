"""Which etcd may decide who leads."""

from __future__ import annotations

import pytest

from mgr.election.fitness import Fitness, is_trusted
from mgr.store.api import StoreStatus


@pytest.mark.parametrize(
    ("version", "trusted"),
    [
        ("3.4.42", False),
        ("3.5.1", False),
        ("3.5.27", False),
        ("3.5.28", True),
        ("3.5.30", True),
        ("3.6.8", False),
        ("3.6.9", True),
        ("3.6.14", True),
        ("3.7.0", True),
        ("3.7.0-rc.1", True),
        ("3.8.2", True),
        ("4.0.0", True),
        ("2.3.8", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_old_releases_are_not_trusted(version, trusted):
    """Each line has its own first good release; an unreadable version is not one."""
    assert is_trusted(version) is trusted


def test_the_refusal_names_the_version_and_the_way_out():
    """An operator reads it and knows what to do."""
    fitness = Fitness(untrusted=False)

    fitness.examine(StoreStatus("3.5.1", 1, 10))

    assert "etcd 3.5.1" in fitness.trouble
    assert "3.5.28, 3.6.9 or newer" in fitness.trouble
    assert "etcd_untrusted" in fitness.trouble


def test_an_upgraded_etcd_is_accepted_by_itself():
    """Nobody has to restart the manager."""
    fitness = Fitness(untrusted=False)
    fitness.examine(StoreStatus("3.5.1", 1, 10))

    fitness.examine(StoreStatus("3.5.30", 1, 11))

    assert fitness.trouble == ""


def test_the_setting_for_tests_accepts_any_version():
    """It says nothing about another cluster."""
    fitness = Fitness(untrusted=True)
    fitness.examine(StoreStatus("3.5.1", 1, 10))
    assert fitness.trouble == ""

    fitness.examine(StoreStatus("3.5.1", 2, 10))
    assert "another cluster" in fitness.trouble


def test_a_store_that_went_back_in_time_is_refused_until_a_restart():
    """Its revisions would be used twice, and so would the terms."""
    fitness = Fitness(untrusted=False)
    fitness.examine(StoreStatus("3.6.9", 1, 100))

    fitness.examine(StoreStatus("3.6.9", 1, 50))
    assert "went back in time (revision 50, before 100)" in fitness.trouble
    fitness.examine(StoreStatus("3.6.9", 1, 60))

    assert fitness.trouble
