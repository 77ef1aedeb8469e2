"""The dashboards of the other managers: whom a page may ask who leads, when its own is gone."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from mgr_module import MgrModule
from mgr_util import build_url

from .reader import Reader

READ_EVERY_S: Final = 5.0
KEPT_S: Final = 600.0
"""So long a manager that is gone may still be asked: one that restarts leads again soon, and a page
that was loaded meanwhile would not be permitted to ask it."""
STORED: Final = "peers"
"""Key in the store of the module: by manager, the address of its pages and when it was last there.
So a page that is loaded right after a failover knows the manager that led before."""
STORE_AGAIN_S: Final = 10.0
"""Pause after a write that failed."""
ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,260}")
"""An origin stands in a header and in an attribute of every page: nothing else may get there."""


class Peers:
    """Keeps the origins of all managers' pages. Thread-safe; ``refresh`` may wait for etcd."""

    def __init__(
        self, module: MgrModule, reader: Reader, *, scheme: str, port_default: int
    ) -> None:
        """Begin with what an earlier term has stored. All managers serve the same ``scheme``."""
        self._module = module
        self._reader = reader
        self._scheme = scheme
        self._port_default = port_default
        self._stored = _read(module.get_store(STORED))
        self._store_from = 0.0
        self._known: Mapping[str, tuple[str, float]] = self._stored

    @property
    def origins(self) -> frozenset[str]:
        """The origins of the pages of all other managers, as last known."""
        own = self._module.get_mgr_id()
        return frozenset(origin for name, (origin, _) in self._known.items() if name != own)

    def refresh(self) -> None:
        """Read which managers are there, unless that was done a moment ago."""
        found = self._reader.shared("peers", "presence keys", self._read, for_s=READ_EVERY_S).value
        if found is None:
            return
        now = _now()
        there = {name: (origin, now) for name, origin in found.items()}
        kept = {name: each for name, each in self._known.items() if each[1] > now - KEPT_S}
        self._known = {**kept, **there}
        if _changed(self._stored, there) and self._reader.current and now >= self._store_from:
            self._store_from = now + STORE_AGAIN_S
            # Without it, a page that is loaded after the next failover looks a little longer.
            with contextlib.suppress(Exception):  # whatever is wrong with etcd
                self._module.set_store(STORED, json.dumps(self._known))
                self._stored = self._known

    def _read(self) -> dict[str, str]:
        """Return the origin of each manager's pages, this one's too."""
        module = self._module.module_name
        stored = {each["name"]: each["value"] for each in self._reader.command("config dump")}
        found = {}
        for each in self._reader.command("mgr metadata"):
            name = each["name"]
            host = stored.get(f"mgr/{module}/{name}/server_addr") or stored.get(
                f"mgr/{module}/server_addr"
            )
            port = stored.get(f"mgr/{module}/{name}/server_port") or stored.get(
                f"mgr/{module}/server_port", self._port_default
            )
            if not host or host in {"::", "0.0.0.0"}:  # noqa: S104 - compared, not bound to
                host = each["http_address"].rpartition(":")[0].strip("[]")
            if host and int(port):
                origin = str(build_url(host.strip(), self._scheme, int(port))).rstrip("/")
                if ORIGIN.fullmatch(origin):
                    found[name] = origin
        return found


def _changed(
    stored: Mapping[str, tuple[str, float]], there: Mapping[str, tuple[str, float]]
) -> bool:
    """Whether a manager is new or has moved, or what is stored of one becomes too old."""
    return any(
        name not in stored or stored[name][0] != origin or stored[name][1] < now - KEPT_S / 2
        for name, (origin, now) in there.items()
    )


def _read(text: str | None) -> dict[str, tuple[str, float]]:
    """Read what is stored; nothing if that cannot be read, since anybody may have written it.

    No moment is later than now: the clock of the manager that wrote it may have been wrong.
    """
    with contextlib.suppress(Exception):
        found: dict[str, Any] = json.loads(text or "{}")
        return {
            name: (origin, min(float(at), _now()))
            for name, (origin, at) in found.items()
            if ORIGIN.fullmatch(origin)
        }
    return {}


def _now() -> float:
    return time.time()  # noqa: TID251 - other managers read it
