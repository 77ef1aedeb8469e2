"""The configuration section of a daemon, and merging of several configurations."""

from __future__ import annotations

from typing import Any, Final

_OWN: Final = frozenset({"mon", "osd", "mds", "mgr", "client"})
_CLIENTS: Final = frozenset(
    {"rgw", "rbd-mirror", "cephfs-mirror", "nfs", "crash", "iscsi", "ceph-exporter", "nvmeof"}
)


def name_to_config_section(name: str) -> str:
    """Return the section with a daemon's options: for ``rgw.a`` it is ``client.rgw.a``.

    For a name of an unknown type it is ``mon``.
    """
    kind = name.partition(".")[0]
    if kind in _CLIENTS:
        return f"client.{name}"
    return name if kind in _OWN else "mon"


def merge_dicts(*args: dict[Any, Any]) -> dict[Any, Any]:
    """Return a new dictionary with the entries of all; later ones take precedence."""
    merged: dict[Any, Any] = {}
    for each in args:
        merged.update(each)
    return merged
