"""The record of the cluster's certificate authority in the store."""

from __future__ import annotations

import msgspec

from mgr.store.api import UNREADABLE, Reader
from mgr.store.keys import Keys


class AuthorityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``pki/ca``; written by ``mgrd init``, never changed.

    Attributes:
        certificate: The CA's certificate in PEM form.
        sealed_key: Its key, encrypted with a passphrase that is not in the store; empty if the
            operator keeps it.

    """

    certificate: str
    sealed_key: str = ""


def encode_authority(record: AuthorityRecord) -> str:
    """Encode ``record`` as the store holds it."""
    return msgspec.json.encode(record).decode()


def read_authority(reader: Reader, keys: Keys) -> AuthorityRecord | None:
    """Return the cluster's own CA; None if its certificates come from elsewhere."""
    found = reader.get(keys.authority)
    try:
        return msgspec.json.decode(found.value, type=AuthorityRecord) if found else None
    except UNREADABLE:
        return None
