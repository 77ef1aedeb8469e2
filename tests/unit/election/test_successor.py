"""To whom an active may hand over leadership."""

from __future__ import annotations

import pytest

from mgr.election.eligibility import check_successor
from mgr.election.records import Presence
from mgr.errors import NotFoundError, NotPermittedError


def presence(name, version="1.10", *, warm=True):
    return Presence(
        name=name,
        incarnation="i",
        host="here",
        boot_id="b",
        pid_namespace="n",
        pid=1,
        pid_started=1,
        grpc_address="",
        http_address="",
        version=version,
        warm=warm,
    )


THERE = [presence("a"), presence("b", "1.9"), presence("c", "1.10.1"), presence("d", warm=False)]


def test_a_warm_standby_of_this_release_or_a_newer_one_may_lead_next():
    """Nothing is said against it."""
    check_successor("c", [*THERE, presence("e")], own="a")
    check_successor("e", [*THERE, presence("e")], own="a")


def test_one_of_an_older_release_may_not():
    """What was written here is too new for it; it would not lead anyway."""
    with pytest.raises(NotPermittedError, match=r"'b' runs 1\.9, which is older than 1\.10"):
        check_successor("b", THERE, own="a")


@pytest.mark.parametrize("name", ["d", "a", "nobody"])
def test_one_that_is_not_there_or_not_warm_is_named_with_those_that_are(name):
    """A typing error does not leave the cluster without its active."""
    with pytest.raises(NotFoundError, match=f"'{name}' is no warm standby: b, c"):
        check_successor(name, THERE, own="a")
