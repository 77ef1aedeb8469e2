"""The way in for whoever owns etcd: make a client an administrator, whatever the table says."""

from __future__ import annotations

from collections.abc import Sequence

from mgr.access.identity import Identity
from mgr.access.protection import decode, encode, new_protection
from mgr.access.table import ADMINISTRATOR
from mgr.store.api import Operation, Put, Store
from mgr.store.keys import Keys


async def make_administrator(
    store: Store, keys: Keys, client: str, *, along: Sequence[Operation] = ()
) -> str:
    """Give ``client`` every right and make the cluster demand authentication.

    Not fenced: it needs no active, and no term makes it wrong. ``along`` is written in the same
    transaction. Returns the name of the entry.

    Raises:
        InvalidArgumentError: No client can have that name.
        StoreUnavailableError: The store did not answer; the same call can be repeated.

    """
    entry = Identity.of_entry(client).entry
    record = await store.get(keys.protection)
    admin = decode(record.value).admin if record is not None else ""
    protection = new_protection(required=True, admin=admin or entry)
    await store.commit(
        [
            Put(keys.access_of(entry), ADMINISTRATOR),
            Put(keys.protection, encode(protection)),
            *along,
        ]
    )
    return entry
