"""Whose configuration a daemon's is; and what wins when several are laid over each other."""

from __future__ import annotations

from typing import Any, Final

_OWN: Final = frozenset({"mon", "osd", "mds", "mgr", "client"})
_CLIENTS: Final = frozenset(
    {"rgw", "rbd-mirror", "cephfs-mirror", "nfs", "crash", "iscsi", "ceph-exporter", "nvmeof"}
)


def name_to_config_section(name: str) -> str:
    """The section in which a daemon's options stand: ``rgw.a`` has those of ``client.rgw.a``.

    A name of no known type has those of ``mon``.
    """
    kind = name.partition(".")[0]
    if kind in _CLIENTS:
        return f"client.{name}"
    return name if kind in _OWN else "mon"


def merge_dicts(*args: dict[Any, Any]) -> dict[Any, Any]:
    """A new dictionary with the entries of all; later ones win."""
    merged: dict[Any, Any] = {}
    for each in args:
        merged.update(each)
    return merged
