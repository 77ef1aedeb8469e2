"""Who sent a request: certificates, tokens, and what is refused."""

import datetime as dt

import pytest

from mgr.access.authenticator import Authenticator, Peer
from mgr.access.certificate import read_certificate
from mgr.access.identity import NAMELESS, Caller, Identity, Kind
from mgr.access.tokens import encode, new_token
from mgr.errors import NotAuthenticatedError
from tests.support.certificates import Authority
from tests.support.leading import leading

SPIFFE = "spiffe://example.org/robot"
CA = Authority()


def names_in(*common_names, **names):
    """The identities of such a certificate."""
    return read_certificate(CA.issue(*common_names, **names)[0]).identities


def test_every_name_of_a_certificate_counts_with_its_kind():
    """The common name first, then URIs, then DNS names."""
    assert names_in("ops", uris=[SPIFFE], dns=["Ops.Example.org", "b"]) == (
        Identity(Kind.CN, "ops"),
        Identity(Kind.URI, SPIFFE),
        Identity(Kind.DNS, "ops.example.org"),
        Identity(Kind.DNS, "b"),
    )
    assert names_in(dns=["ops"]) == (Identity(Kind.DNS, "ops"),)
    assert names_in(ips=["10.0.0.1"]) == (Identity(Kind.CN, NAMELESS),)
    assert not Identity(Kind.CN, NAMELESS).valid


def test_both_forms_of_a_certificate_are_read():
    """PEM comes from gRPC, DER from TLS of Python."""
    import ssl

    pem, _ = CA.issue("ops")
    der = ssl.PEM_cert_to_DER_cert(pem.decode())

    assert read_certificate(der) == read_certificate(pem)


@pytest.mark.parametrize(
    "names",
    [
        {"common_names": ["ops\0evil"]},
        {"common_names": ["ops\nevil"]},
        {"common_names": ["ops\x1b[2J"]},
        {"common_names": ["good"], "uris": ["spiffe://a/\0b"]},
        {"common_names": ["good"], "dns": ["a\0b"]},
    ],
)
def test_a_name_with_a_control_character_is_refused(names):
    """As a C string, ``ops`` with a NUL and more would be ``ops``."""
    pem, _ = CA.issue(*names.pop("common_names"), **names)

    with pytest.raises(NotAuthenticatedError, match="control character"):
        read_certificate(pem)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_refused(data):
    """TLS does not let it through; a bug of ours must not either."""
    with pytest.raises(NotAuthenticatedError, match="cannot be read"):
        read_certificate(data)


def test_two_common_names_are_refused():
    """Nobody can say which of them counts."""
    with pytest.raises(NotAuthenticatedError, match="2 common names"):
        names_in("ops", "guest")


async def test_a_certificate_counts_until_it_ends_and_only_where_tls_verifies_it():
    """A connection may outlive it."""
    ended, _ = CA.issue("ops", valid=-dt.timedelta(seconds=1))
    good, _ = CA.issue("ops", dns=["x"])
    async with leading() as term:
        tokens = term.access.tokens
        verifying = Authenticator(tokens, certificates=True)
        caller = verifying.identify(Peer("10.0.0.1", good, encrypted=True))
        plain = Authenticator(tokens, certificates=False).identify(Peer("10.0.0.1", good))
        with pytest.raises(NotAuthenticatedError, match="has expired"):
            verifying.identify(Peer("10.0.0.1", ended, encrypted=True))
        nobody = verifying.identify(Peer("10.0.0.1", encrypted=True))

    assert (caller.name, caller.kind, caller.address) == ("ops", Kind.CN, "10.0.0.1")
    assert caller.others == (Identity(Kind.DNS, "x"),)
    assert caller.expires_s == read_certificate(good).expires_s
    assert plain == nobody == Caller.anonymous("10.0.0.1")


async def test_a_token_says_who_presents_it():
    """More than the certificate beside it: the client chose to send it."""
    ident, text, record = new_token("ada", lifetime_s=60, by="ops")
    pem, _ = CA.issue("robot")
    async with leading() as term:
        await term.fenced.put(term.keys.token(ident), encode(record))
        authenticator = Authenticator(term.access.tokens, certificates=True)
        caller = authenticator.identify(Peer("10.0.0.1", pem, f"Bearer {text}", encrypted=True))
        stored = term.mirror.get(term.keys.token(ident)).value

    assert (caller.name, caller.kind, caller.token_id) == ("ada", Kind.TOKEN, ident)
    assert caller.identities[0].entry == "token:ada"
    assert caller.expires_s == record.expires_s
    assert text.partition(".")[2] not in stored


async def test_a_token_that_is_not_valid_is_refused():
    """A wrong one does not fall back to the certificate beside it, or to nobody."""
    ident, text, record = new_token("ada", lifetime_s=60, by="ops")
    old, old_text, old_record = new_token("ada", lifetime_s=-1, by="ops")
    other = new_token("ada", lifetime_s=60, by="ops")[1]
    pem, _ = CA.issue("robot")
    async with leading() as term:
        await term.fenced.put(term.keys.token(ident), encode(record))
        await term.fenced.put(term.keys.token(old), encode(old_record))
        await term.fenced.put(term.keys.token("0" * 12), "no token")
        authenticator = Authenticator(term.access.tokens, certificates=True)
        for presented, why in (
            (f"Bearer {ident}.{other.partition('.')[2]}", "not valid"),
            (f"Bearer {other}", "not valid"),
            (f"Bearer {'0' * 12}.{'a' * 43}", "not valid"),
            (f"Bearer {old_text}", "expired"),
            (f"Basic {text}", "form"),
            ("Bearer ", "form"),
            (f"Bearer {text}x", "form"),
            (f"Bearer ../{text}", "form"),
            ("x" * 100_000, "form"),
        ):
            with pytest.raises(NotAuthenticatedError, match=why):
                authenticator.identify(Peer("10.0.0.1", pem, presented, encrypted=True))


async def test_a_token_is_accepted_over_tls_or_within_the_host():
    """In plaintext everybody on the way has read it."""
    ident, text, record = new_token("ada", lifetime_s=60, by="ops")
    async with leading() as term:
        await term.fenced.put(term.keys.token(ident), encode(record))
        authenticator = Authenticator(term.access.tokens, certificates=False)
        for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            assert authenticator.identify(Peer(address, b"", f"Bearer {text}")).name == "ada"
        for address in ("10.0.0.1", "fd00::1", "", "unix"):
            with pytest.raises(NotAuthenticatedError, match="over TLS only"):
                authenticator.identify(Peer(address, b"", f"Bearer {text}"))
