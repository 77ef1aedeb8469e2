"""The warning that every page shows while the cluster is open to the network."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from mgr_util import unprotected_warning, warning_html


def module(*, own="", checks=(), standby=False):
    """A module of a manager with the open listeners ``own``, in a cluster with these checks."""
    made = SimpleNamespace(get_ceph_option={"mgr_unprotected": own}.get)
    if not standby:
        document = {"checks": {code: {"muted": True} for code in checks}}
        made.get = {"health": {"json": json.dumps(document)}}.get
    return made


@pytest.mark.parametrize(
    "open_to_all",
    [
        module(own="grpc_listen"),
        module(checks=["MGR_UNPROTECTED"]),
        module(own="http_listen", standby=True),
    ],
)
def test_a_page_of_an_open_cluster_says_so(open_to_all):
    """Also if another manager is the open one, and if the check is muted."""
    assert "MGR_UNPROTECTED" in unprotected_warning(open_to_all)
    assert warning_html(open_to_all).startswith('<p role="alert">')


@pytest.mark.parametrize(
    "protected", [module(), module(checks=["MGR_HELLO_NOBODY"]), module(standby=True)]
)
def test_a_page_of_a_protected_cluster_does_not(protected):
    """Nor one on loopback."""
    assert (unprotected_warning(protected), warning_html(protected)) == ("", "")
