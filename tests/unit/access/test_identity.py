"""The names of clients, and where they come from."""

import pytest

from mgr.access.identity import INTERNAL_CALLER, Caller, Identity, Kind
from mgr.errors import InvalidArgumentError

SPIFFE = "spiffe://example.org/ns/mgr/sa/robot"


@pytest.mark.parametrize(
    ("identity", "entry"),
    [
        (Identity(Kind.CN, "ops"), "ops"),
        (Identity(Kind.DNS, "db1.example.org"), "dns:db1.example.org"),
        (Identity(Kind.URI, SPIFFE), f"uri:{SPIFFE}"),
        (Identity(Kind.TOKEN, "grafana"), "token:grafana"),
        (Identity(Kind.UID, "1000"), "uid:1000"),
        (Identity(Kind.CN, "uid:1000"), "cn:uid:1000"),
        (Identity(Kind.CN, "dns:db1.example.org"), "cn:dns:db1.example.org"),
        (Identity(Kind.CN, "token:grafana"), "cn:token:grafana"),
        (Identity(Kind.CN, "cn:ops"), "cn:cn:ops"),
        (Identity(Kind.CN, "host:a"), "host:a"),
    ],
)
def test_each_identity_has_an_entry_of_its_own(identity, entry):
    """No common name can be taken for a DNS name or a token, however it is written."""
    assert identity.entry == entry
    assert Identity.of_entry(entry) == identity


def test_one_name_can_be_written_in_two_ways():
    """With its kind, and a DNS name in any case."""
    assert Identity.of_entry("cn:ops") == Identity.of_entry("ops")
    assert Identity.of_entry("dns:DB1.Example.org").entry == "dns:db1.example.org"


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a/b", "ä", "x" * 129, "a\n", "a\0b", "dns:", "dns:a b", "uri:no", "token:a/b"],
)
def test_a_client_cannot_have_any_name(name):
    """Its name is part of a key, and is shown in logs."""
    with pytest.raises(InvalidArgumentError, match="use the common name"):
        Identity.of_entry(name)


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        (Caller("ops", "10.0.0.1"), "client 'ops'"),
        (Caller("db1", kind=Kind.DNS), "client 'dns:db1'"),
        (Caller.anonymous("10.0.0.7"), "a client at 10.0.0.7"),
        (INTERNAL_CALLER, "the manager"),
    ],
)
def test_a_caller_is_named_in_words(caller, words):
    """In logs and refusals."""
    assert str(caller) == words


def test_a_caller_without_a_name_has_a_kind_that_says_so():
    """A certificate's kind without its name would be a bug of ours."""
    with pytest.raises(AssertionError):
        Caller(None, "10.0.0.1")
    with pytest.raises(AssertionError):
        Caller("ops", "10.0.0.1", Kind.ANONYMOUS)
