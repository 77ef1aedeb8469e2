"""Writes a new cluster's CA, administrator and join tokens to etcd, before any manager runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mgr.access.protection import encode, new_protection
from mgr.access.table import ADMINISTRATOR
from mgr.connection import connect
from mgr.election.eligibility import Eligibility
from mgr.errors import NotPermittedError
from mgr.link import KnownStoreState
from mgr.pki.authority import Authority
from mgr.pki.issuer import CAPS
from mgr.pki.join_token import LIFETIME_S, JoinToken, encode_token
from mgr.pki.record import AuthorityRecord, encode_authority
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.token_text import TokenText
from mgr.settings import Settings
from mgr.store.api import ABSENT, Created, Operation, Put, Record, Store
from mgr.store.keys import Keys
from mgr.version import installed_version

TIMEOUT_S: Final = 10.0
CHECK_S: Final = 3.0
"""How long to wait for etcd where its answer is not needed."""


async def create_cluster(
    settings: Settings,
    *,
    certificate: str,
    sealed_key: str,
    admin: str,
    manager: str,
    tokens: Sequence[tuple[TokenText, JoinToken]],
) -> None:
    """Write the records of a new cluster, whose first manager is ``manager``, in one transaction.

    Raises:
        NotPermittedError: The cluster has a CA already, or no manager would lead on this etcd;
            nothing was written.
        StoreError: See ``Store.commit``.

    """
    store, keys = connect(settings, KnownStoreState()), Keys(settings.cluster)
    try:
        await _check_eligible(store, keys, settings, TIMEOUT_S)
        record = AuthorityRecord(certificate=certificate, sealed_key=sealed_key)
        await _write(store, keys, record, admin, manager, tokens)
    finally:
        await store.close()


async def check_etcd(settings: Settings) -> None:
    """Check that etcd answers a manager with ``settings``, which may lead there.

    Raises:
        InvalidSettingError: A file that they name cannot be read.
        NotPermittedError: The manager would not lead on this etcd.
        StoreError: See ``Store.get``.

    """
    store = connect(settings, KnownStoreState())
    try:
        await _check_eligible(store, Keys(settings.cluster), settings, CHECK_S)
    finally:
        await store.close()


async def _check_eligible(store: Store, keys: Keys, settings: Settings, timeout_s: float) -> None:
    eligibility = Eligibility(
        installed_version(), untrusted=settings.etcd_untrusted, downgrade=settings.downgrade
    )
    eligibility.check_store(await store.status(timeout_s=timeout_s))
    led = await store.get(keys.version, timeout_s=timeout_s)
    eligibility.check_leader_version("" if led is None else led.value)
    if eligibility.reason:
        raise NotPermittedError(f"a manager would not lead here: {eligibility.reason}")


async def open_authority(settings: Settings) -> tuple[Authority, bytes]:
    """Open the CA's key that etcd has; return it, and the passphrase in ``tls_dir``.

    Raises:
        NotPermittedError: The cluster has no CA, or its key is kept elsewhere.
        InvalidSettingError: The passphrase cannot be read, or is wrong.
        StoreError: See ``Store.get``.

    """
    store, keys = connect(settings, KnownStoreState()), Keys(settings.cluster)
    try:
        record = await store.get(keys.authority, timeout_s=TIMEOUT_S)
    finally:
        await store.close()
    sealed = SealedAuthority(_One(record), keys, settings.tls_dir)
    return await sealed.open(), sealed.passphrase()


class _One:
    """A ``Reader`` of one record."""

    def __init__(self, record: Record | None) -> None:
        self._records = {record.key: record} if record is not None else {}

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def list(self, prefix: str) -> dict[str, Record]:
        return {key: found for key, found in self._records.items() if key.startswith(prefix)}

    def age_s(self) -> float:
        return 0.0


async def _write(
    store: Store,
    keys: Keys,
    record: AuthorityRecord,
    admin: str,
    manager: str,
    tokens: Sequence[tuple[TokenText, JoinToken]],
) -> None:
    operations: list[Operation] = [
        Put(keys.authority, encode_authority(record)),
        Put(keys.access_of(admin), ADMINISTRATOR),
        Put(keys.access_of(manager), CAPS["manager"]),
        Put(keys.protection, encode(new_protection(required=True, admin=admin))),
    ]
    if tokens:
        lease = (await store.grant(LIFETIME_S, timeout_s=TIMEOUT_S)).lease
        operations += [
            Put(keys.join_token(text.id), encode_token(token), lease) for text, token in tokens
        ]
    # Whatever its term: a leader does not write these keys while there is no CA.
    outcome = await store.commit(
        operations, when=[Created(keys.authority, ABSENT)], timeout_s=TIMEOUT_S
    )
    if not outcome.succeeded:
        raise NotPermittedError(
            f"cluster '{keys.cluster}' has a CA already: this manager gets its certificate by "
            "'mgrd join'"
        )
