"""Which clients of earlier managers and instances a Ceph cluster has to refuse.

Each module records the addresses of its connections before it uses them, in the entries of this
module. What a manager that was killed has sent may still be under way, and an MDS waits a minute
for a client that is gone: both end when the cluster refuses the address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

PREFIX: Final = "clients/"
"""Beginning of the keys: a module's name follows."""
EXPIRE_S: Final = 86400.0
"""Ceph's managers are refused for as long."""

Entry = Mapping[str, Any]
"""``term``, ``instance`` and ``address``, as a module has recorded them."""


def outlived(entries: Sequence[Entry], *, term: int) -> list[Entry]:
    """Return the entries whose manager or instance is over: all but those of the newest instance.

    ``entries`` are those of one module, oldest first.
    """
    newest = entries[-1] if entries else None
    return [
        one
        for one in entries
        if newest is None
        or one["term"] != term
        or (one["term"], one["instance"]) != (newest["term"], newest["instance"])
    ]


def refusal(address: str) -> dict[str, Any]:
    """Return the command that has the cluster refuse a client."""
    return {
        "prefix": "osd blocklist",
        "blocklistop": "add",
        "addr": address,
        "expire": EXPIRE_S,
    }
