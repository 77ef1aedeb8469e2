"""Addresses of managers, as people type them."""

from __future__ import annotations

import pytest

from mgr.client.peers import Peers, addresses_in
from mgr.errors import InvalidSettingError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("a", ("a:7400",)),
        ("a:1", ("a:1",)),
        ("a:1, b:2,", ("a:1", "b:2")),
        ("a:1,a:1", ("a:1",)),
        (["a:1", "b"], ("a:1", "b:7400")),
        ("[::1]", ("[::1]:7400",)),
        ("[fe80::1%eth0]:99", ("[fe80::1%eth0]:99",)),
        ("10.0.0.1", ("10.0.0.1:7400",)),
    ],
)
def test_what_can_be_meant_is_read(typed, read):
    """7400 where no port is given; doubles count once."""
    assert addresses_in(typed) == read


@pytest.mark.parametrize(
    "typed",
    ["a:b", "a:0", "a:65536", ":7400", "::1", "[::1", "::1]:7", "http://a:1", "a b:1", "a:1:2"],
)
def test_what_cannot_be_an_address_is_refused_by_name(typed):
    """Before gRPC makes a name of it and asks the resolver."""
    with pytest.raises(InvalidSettingError, match="is not host:port"):
        addresses_in(typed)


@pytest.mark.parametrize("typed", ["", " , ", []])
def test_no_manager_address_is_an_error(typed):
    """With what to give instead."""
    with pytest.raises(InvalidSettingError, match="no manager address"):
        addresses_in(typed)


def test_an_address_is_learned_once():
    """And nothing is learned from a manager that has not advertised one yet."""
    peers = Peers(["a:1"])

    for address in ("b:2", "a:1", "", "b:2"):
        peers.learn(address)

    assert peers.addresses == ("a:1", "b:2")
