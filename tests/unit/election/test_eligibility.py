"""Which etcd may decide who leads."""

from __future__ import annotations

import pytest

from mgr.election.eligibility import Eligibility, is_trusted
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


def make_eligibility(release="1.4.0", *, untrusted=False, downgrade=False):
    return Eligibility(release, untrusted=untrusted, downgrade=downgrade)


@pytest.mark.parametrize(
    ("mine", "led", "fit"),
    [
        ("1.4.0", "", True),
        ("1.4.0", "1.4.0", True),
        ("1.4.0", "1.3.9", True),
        ("1.10", "1.9.3", True),
        ("1.4.0", "1.4.1", False),
        ("1.4", "1.4.1", False),
        ("1.4.0", "2", False),
        ("1.4.0.dev3", "1.4.0", True),
        ("0", "0.1", False),
        ("unknown", "1.0", False),
        ("1.0", "unknown", True),
    ],
)
def test_a_release_does_not_lead_after_a_newer_one(mine, led, fit):
    """Compared number by number; what is no number says nothing."""
    eligibility = make_eligibility(mine)

    eligibility.check_leader_version(led)

    assert (eligibility.reason == "") is fit


def test_the_refusal_of_an_older_release_names_both_and_the_way_out():
    """And is over when the data is an older release's again."""
    eligibility = make_eligibility("1.4.0")

    eligibility.check_leader_version("1.5.0")
    assert "mgrd 1.5.0 has led here, this is 1.4.0" in eligibility.reason
    assert "downgrade = true" in eligibility.reason

    eligibility.check_leader_version("1.4.0")
    assert eligibility.reason == ""


def test_an_operator_may_go_back():
    """He says so in the settings of each manager that may lead."""
    eligibility = make_eligibility("1.4.0", downgrade=True)

    eligibility.check_leader_version("1.5.0")

    assert eligibility.reason == ""


def test_the_refusal_names_the_version_and_the_way_out():
    """An operator reads it and knows what to do."""
    eligibility = make_eligibility()

    eligibility.check_store(StoreStatus("3.5.1", 1, 10))

    assert "etcd 3.5.1" in eligibility.reason
    assert "3.5.28, 3.6.9 or newer" in eligibility.reason
    assert "etcd_untrusted" in eligibility.reason


def test_an_upgraded_etcd_is_accepted_by_itself():
    """Nobody has to restart the manager."""
    eligibility = make_eligibility()
    eligibility.check_store(StoreStatus("3.5.1", 1, 10))

    eligibility.check_store(StoreStatus("3.5.30", 1, 11))

    assert eligibility.reason == ""


def test_an_etcd_that_does_not_tell_its_version_is_accepted():
    """Only those from 3.5.28 and 3.6.9 on refuse it to a user without the role root."""
    eligibility = make_eligibility()

    eligibility.check_store(StoreStatus("", 1, 10))

    assert eligibility.reason == ""


def test_the_setting_for_tests_accepts_any_version():
    """And nothing else: which cluster it is, the store's identity says."""
    eligibility = make_eligibility(untrusted=True)

    eligibility.check_store(StoreStatus("3.5.1", 1, 10))

    assert eligibility.reason == ""


def test_a_store_that_went_back_in_time_is_refused_until_it_is_past_what_was_seen():
    """Its revisions would be used twice, and so would the terms. It clears by itself."""
    eligibility = make_eligibility()
    eligibility.identity.advance(100, 0)

    eligibility.identity.advance(50, 100)
    assert "it is at revision 50, and 100 was seen before" in eligibility.reason
    eligibility.identity.advance(60, 100)
    assert eligibility.reason

    eligibility.identity.advance(101, 100)
    assert eligibility.reason == ""


def test_a_member_that_lags_proves_nothing():
    """What one member says of its own revision is no linearizable answer."""
    eligibility = make_eligibility()
    eligibility.check_store(StoreStatus("3.6.9", 1, 100))

    eligibility.check_store(StoreStatus("3.6.9", 1, 50))

    assert eligibility.reason == ""
