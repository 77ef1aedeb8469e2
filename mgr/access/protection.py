"""Whether the cluster demands authentication. It is a record in etcd, not a setting of a process.

A process has only its own settings: if each decided alone, one manager without TLS would open a
protected cluster to everybody as soon as it became active (docs/adr/0052).
"""

from __future__ import annotations

from typing import Final

import msgspec

from mgr.clock import timestamp
from mgr.store.api import UNREADABLE


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``protection``.

    Attributes:
        required: Whether clients must authenticate.
        admin: The entry name of the first administrator, who may do everything while the table of
            capabilities is empty; empty: nobody.
        since: Wall time in ISO 8601, for people.

    """

    required: bool = True
    admin: str = ""
    since: str = ""


def new_protection(*, required: bool, admin: str) -> Protection:
    """Return a record of this moment."""
    return Protection(required=required, admin=admin, since=timestamp())


def encode(protection: Protection) -> str:
    """Encode the record as the store holds it."""
    return msgspec.json.encode(protection).decode()


def decode(value: str) -> Protection:
    """Decode the record; one that cannot be read demands authentication, to be safe."""
    try:
        return msgspec.json.decode(value, type=Protection)
    except UNREADABLE:
        return UNKNOWN


UNKNOWN: Final = Protection()
"""Stands for a record that cannot be read."""
