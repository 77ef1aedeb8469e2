"""Join tokens: used once, soon, for one name; and certificates are renewed for whom it is right."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt

import pytest

from mgr.access.table import Access
from mgr.errors import (
    InvalidArgumentError,
    InvalidSettingError,
    NotAuthorizedError,
    NotPermittedError,
)
from mgr.pki.authority import Authority, Subject, common_name, load_certificate
from mgr.pki.issuer import CAPS, CertificateIssuer
from mgr.pki.join_token import JoinToken, new_token
from mgr.pki.private_key import PRIVATE, PrivateKey, write_file
from mgr.pki.record import AuthorityRecord, encode_authority
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import LocalSigner, SigningOrder
from mgr.pki.subject import addresses_of
from mgr.pki.token_text import TokenText
from mgr.store.api import Put
from mgr.tls import PASSPHRASE_FILE
from tests.support.leading import leading

PASSPHRASE = b"a long enough passphrase"
HOUR_S = 3600


class Signing:
    """An issuer in a term of its own."""

    def __init__(self, term, folder, authority):
        self.term = term
        self.authority = authority
        self.folder = folder
        self.issuer = self.of(term)

    def of(self, term):
        sealed = SealedAuthority(term.mirror, term.keys, str(self.folder))
        self.signer = LocalSigner(sealed, lambda: HOUR_S)
        return CertificateIssuer(sealed, term.fenced, term.store, self.signer)

    async def token(self, profile="daemon", name="host.*", **more):
        text, _ = await self.issuer.create_token(
            profile, name, lifetime_s=900, created_by="ops", **more
        )
        return text

    async def join(self, text, name="host.x", key=None, **more):
        request = (key or PrivateKey()).request(name)
        return await self.issuer.join(text.id, text.secret, name, request, **more)

    def caps(self, name):
        return dict(Access(self.term.mirror, self.term.keys).entries()).get(name)


@contextlib.asynccontextmanager
async def signing(folder, *, sealed=True, authority=None):
    authority = authority or Authority.generate("test")
    write_file(folder / PASSPHRASE_FILE, PASSPHRASE + b"\n", mode=PRIVATE)
    async with leading() as term:
        record = AuthorityRecord(
            certificate=authority.certificate,
            sealed_key=authority.seal(PASSPHRASE) if sealed else "",
        )
        await term.fenced.put(term.keys.authority, encode_authority(record))
        yield Signing(term, folder, authority)


async def test_a_daemon_gets_a_certificate_and_the_capabilities_of_one(tmp_path):
    """Under the name that it asked for and the token admits."""
    async with signing(tmp_path) as at:
        text = await at.token()
        issued = await at.join(text)

        assert common_name(load_certificate(issued.certificate)) == "host.x"
        assert at.authority.has_signed(load_certificate(issued.certificate))
        assert issued.passphrase == b""
        assert at.caps("host.x") == CAPS["daemon"]
        assert text.pin == at.authority.pin


async def test_a_token_is_used_once(tmp_path):
    """Also by two at the same time; but who repeats a call whose answer was lost gets it."""
    async with signing(tmp_path) as at:
        text, key = await at.token(), PrivateKey()
        first = await at.join(text, key=key)

        assert await at.join(text, key=key) == first
        with pytest.raises(NotAuthorizedError, match="unknown, used or expired"):
            await at.join(text)
        with pytest.raises(NotAuthorizedError):
            await at.join(text, "host.y", key=key)

        both, refused = await at.token(), []

        async def race(name):
            try:
                await at.join(both, name)
            except NotAuthorizedError:
                refused.append(name)

        async with asyncio.TaskGroup() as tasks:
            for name in ("host.a", "host.b"):
                tasks.create_task(race(name))
        assert len(refused) == 1


class Behind:
    """A reader that shows what was stored when it was made."""

    def __init__(self, mirror, keys):
        self._records = dict(mirror.list(keys.root))

    def get(self, key):
        return self._records.get(key)

    def list(self, prefix):
        return {key: each for key, each in self._records.items() if key.startswith(prefix)}

    def age_s(self):
        return 1.0


async def test_a_view_that_is_behind_does_not_use_a_token_twice(tmp_path):
    """The transaction compares the record that was read."""
    async with signing(tmp_path) as at:
        text, term = await at.token(), at.term
        sealed = SealedAuthority(Behind(term.mirror, term.keys), term.keys, str(tmp_path))
        signer = LocalSigner(sealed, lambda: HOUR_S)
        behind = CertificateIssuer(sealed, term.fenced, term.store, signer)
        await at.join(text)

        with pytest.raises(NotAuthorizedError, match="used"):
            await behind.join(text.id, text.secret, "host.y", PrivateKey().request("host.y"))
        assert at.caps("host.y") is None


async def test_two_managers_that_both_think_they_lead_use_a_token_once(tmp_path):
    """The transaction compares the record; the old term is fenced as well."""
    async with signing(tmp_path) as at:
        text = await at.token()
        successor = at.of(await at.term.succeed())
        await successor.join(text.id, text.secret, "host.x", PrivateKey().request("host.x"))

        with pytest.raises(Exception, match=r"over|used"):
            await at.join(text)


async def test_a_wrong_secret_or_an_expired_token_is_refused_alike(tmp_path):
    """The answer does not tell which tokens exist."""
    async with signing(tmp_path) as at:
        text = await at.token()
        wrong = TokenText(text.id, "A" * 43, text.pin)
        unknown = TokenText("0" * 16, text.secret, text.pin)
        odd = TokenText("../leader", text.secret, text.pin)
        said = set()
        for each in (wrong, unknown, odd):
            with pytest.raises(NotAuthorizedError) as refused:
                await at.join(each)
            said.add(str(refused.value))
        await at.issuer.remove_token(text.id)
        with pytest.raises(NotAuthorizedError) as refused:
            await at.join(text)

        assert said == {str(refused.value)}


def test_a_token_expires_by_the_clock_as_well():
    """The lease may live longer than it should, after a change of etcd's leader."""
    _, token = new_token("daemon", "host.*", pin="", lifetime_s=60)
    past = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)).isoformat()

    assert not token.expired()
    assert JoinToken(secret_hash="", profile="daemon", name="host.*", expires_at=past).expired()


async def test_the_record_expires_with_its_lease(tmp_path):
    """Etcd removes it, used or not."""
    async with signing(tmp_path) as at:
        text = await at.token()
        key = at.term.keys.join_token(text.id)
        assert (await at.term.store.get(key)).lease
        await at.join(text)
        assert (await at.term.store.get(key)).lease
        assert text.secret not in (await at.term.store.get(key)).value


@pytest.mark.parametrize(
    ("profile", "pattern", "name", "fits"),
    [
        ("daemon", "host.*", "host.x", True),
        ("daemon", "host.*@rack1-*", "host.a@rack1-7", True),
        ("daemon", "host.*@rack1-*", "host.a@rack2-7", False),
        ("daemon", "host.x", "host.xy", False),
        ("daemon", "*", "web.1", True),
        # A person's name, and a manager's.
        ("daemon", "*", "admin", False),
        ("daemon", "*", "mgr.a", False),
        ("daemon", "*", ".x", False),
        ("manager", "*", "host.x", False),
        ("manager", "mgr.*", "mgr.b", True),
        ("manager", "mgr.b", "mgr.c", False),
        ("client", "ops", "ops", True),
        ("client", "mgr.a", "mgr.a", False),
        ("daemon", "a.*b*c*d", "a.bcd", True),
        ("daemon", "a.*bb*b", "a.bb", False),
        ("daemon", "a.*" + "a*" * 25 + "b", "a." + "a" * 60, False),
    ],
)
def test_a_token_is_for_the_names_that_fit_its_profile_and_pattern(profile, pattern, name, fits):
    """No daemon is called like a person or a manager; the comparison takes linear time."""
    token = JoinToken(
        secret_hash="", profile=profile, name=pattern, expires_at="2026-01-01T00:00:00+00:00"
    )

    assert token.admits(name) is fits


async def test_a_name_with_other_capabilities_is_not_given_away(tmp_path):
    """A daemon's token would otherwise make whoever has it an administrator."""
    async with signing(tmp_path) as at:
        await at.term.fenced.put(at.term.keys.access_of("ops.1"), "allow *")
        text = await at.token(name="*")

        with pytest.raises(NotPermittedError, match="capabilities of its own"):
            await at.join(text, "ops.1")
        with pytest.raises(NotPermittedError, match=r"not for 'mgr\.z'"):
            await at.join(text, "mgr.z")
        assert at.caps("ops.1") == "allow *"
        await at.join(text, "web.1")  # it is not used up by a refusal


async def test_a_manager_gets_its_addresses_and_no_passphrase(tmp_path):
    """It asks a signer when it leads. A daemon does not get its addresses either."""
    async with signing(tmp_path) as at:
        manager = await at.join(
            await at.token("manager", "mgr.*"), "mgr.b", addresses=("10.0.0.2", "b")
        )
        daemon = await at.join(await at.token(), addresses=("10.0.0.1",))

        assert (manager.manager, manager.passphrase) == (True, b"")
        assert addresses_of(load_certificate(manager.certificate)) == ("b", "10.0.0.2")
        assert (daemon.manager, addresses_of(load_certificate(daemon.certificate))) == (False, ())
        assert at.caps("mgr.b") == CAPS["manager"]


async def test_no_manager_joins_under_the_name_of_one_that_runs(tmp_path):
    """Whoever has a token for any name could be the active otherwise. One that ended comes back."""
    async with signing(tmp_path) as at:
        text, key = await at.token("manager", "mgr.*"), PrivateKey()
        first = await at.join(text, "mgr.b", key)
        await at.term.fenced.put(at.term.keys.manager("b"), "{}")
        again = await at.token("manager", "mgr.*")
        with pytest.raises(NotPermittedError, match=r"'mgr\.b' runs: stop it"):
            await at.join(again, "mgr.b")
        assert at.issuer.tokens()[again.id].used_for == ""
        # A repetition of the call whose answer was lost, after the manager has started.
        assert (await at.join(text, "mgr.b", key)).certificate == first.certificate
        order = SigningOrder(key.request("mgr.b"), "mgr.b", token_id=again.id, secret=again.secret)
        with pytest.raises(NotPermittedError, match=r"'mgr\.b' runs"):
            await at.signer.sign(order)

        await at.term.fenced.delete(at.term.keys.manager("b"))
        assert (await at.join(again, "mgr.b")).manager


async def test_a_view_that_is_behind_does_not_give_the_name_of_a_manager_away(tmp_path):
    """The transaction that uses the token compares it as well."""
    async with signing(tmp_path) as at:
        text = await at.token("manager", "mgr.*")
        await at.term.store.commit([Put(at.term.keys.manager("b"), "{}")])
        assert at.term.mirror.get(at.term.keys.manager("b")) is None
        with pytest.raises(NotAuthorizedError):
            await at.join(text, "mgr.b")


async def test_a_manager_becomes_a_signer_if_the_operator_says_so(tmp_path):
    """The passphrase comes from a manager that has it; without it, the token is not used up."""
    async with signing(tmp_path) as at:
        text, key = await at.token("manager", "mgr.*", signer=True), PrivateKey()
        (tmp_path / PASSPHRASE_FILE).rename(tmp_path / "away")
        with pytest.raises(NotPermittedError, match="no signer"):
            await at.join(text, "mgr.b", key)
        assert at.issuer.tokens()[text.id].used_for == ""
        (tmp_path / "away").rename(tmp_path / PASSPHRASE_FILE)

        assert (await at.join(text, "mgr.b", key)).passphrase == PASSPHRASE
        with pytest.raises(InvalidArgumentError, match="only managers sign"):
            await at.token("daemon", "host.*", signer=True)


@pytest.mark.parametrize(
    ("profile", "name", "seconds"),
    [
        ("daemon", "a b", 60),
        ("client", "ops*", 60),
        ("king", "x", 60),
        ("daemon", "host.*", 0),
        ("daemon", "host.*", 10**9),
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(tmp_path, profile, name, seconds):
    """One line says what is wrong; nothing is stored."""
    async with signing(tmp_path) as at:
        with pytest.raises(InvalidArgumentError):
            await at.issuer.create_token(profile, name, lifetime_s=seconds, created_by="")
        assert at.issuer.tokens() == {}


async def test_a_client_renews_its_certificate_while_it_has_capabilities(tmp_path):
    """Without an entry of its own it was revoked: its certificate then ends."""
    async with signing(tmp_path) as at:
        issued = await at.join(await at.token())
        renewed = await at.issuer.renew(issued.certificate.encode(), PrivateKey().request("other"))
        await at.term.fenced.delete(at.term.keys.access_of("host.x"))

        assert common_name(load_certificate(renewed.certificate)) == "host.x"
        with pytest.raises(NotAuthorizedError, match="no capabilities"):
            await at.issuer.renew(issued.certificate.encode(), PrivateKey().request("host.x"))


async def test_a_strangers_certificate_and_a_managers_are_not_renewed(tmp_path):
    """The first is not ours; a manager asks a signer."""
    stranger, day = Authority.generate("test"), dt.timedelta(days=1)
    async with signing(tmp_path) as at:
        await at.term.fenced.put(at.term.keys.access_of("host.x"), CAPS["daemon"])
        await at.term.fenced.put(at.term.keys.access_of("mgr.a"), "allow r")
        theirs = stranger.sign(PrivateKey().request("host.x"), Subject("host.x"), day)
        manager = at.authority.sign(PrivateKey().request("mgr.a"), Subject("mgr.a"), day)

        with pytest.raises(NotAuthorizedError, match="not signed by"):
            await at.issuer.renew(theirs.encode(), PrivateKey().request("host.x"))
        with pytest.raises(NotPermittedError, match="by signers"):
            await at.issuer.renew(manager.encode(), PrivateKey().request("mgr.a"))


async def test_without_the_key_nothing_is_signed(tmp_path):
    """No CA, its key elsewhere, no passphrase here, a wrong one, or one that all may read."""
    async with signing(tmp_path, sealed=False) as at:
        with pytest.raises(NotPermittedError, match="mgrd issue"):
            await at.token()
        await at.term.fenced.delete(at.term.keys.authority)
        with pytest.raises(NotPermittedError, match="no CA of its own"):
            await at.token()
    async with signing(tmp_path) as at:
        text = await at.token()
        (tmp_path / PASSPHRASE_FILE).chmod(0o644)
        with pytest.raises(InvalidSettingError, match="chmod o="):
            await at.join(text)
        write_file(tmp_path / PASSPHRASE_FILE, b"another long passphrase", mode=PRIVATE)
        with pytest.raises(InvalidSettingError, match="wrong passphrase"):
            await at.join(text)
        (tmp_path / PASSPHRASE_FILE).unlink()
        with pytest.raises(NotPermittedError, match="no signer"):
            await at.join(text)
        assert at.issuer.tokens()[text.id].used_for == ""


def test_the_secret_is_shown_where_it_is_meant_to_be_only():
    """Not in a log that shows the object, nor in the refusal of a damaged text."""
    text, record = new_token("daemon", "host.*", pin="0" * 64, lifetime_s=60)

    assert TokenText.parse(f" {text}\n") == text
    assert text.secret not in repr(text)
    assert text.secret not in repr(record)
    with pytest.raises(InvalidArgumentError) as refused:
        TokenText.parse(f"{text}x")
    assert text.secret not in str(refused.value)
