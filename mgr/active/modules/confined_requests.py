"""Checks the requests of a module in a process of its own against its manifest, in the worker.

The module's process has a ``ConfinedContext`` as well, which answers as it does for modules in
threads. This one cannot be got around: it is not in the module's memory.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from mgr.module_api.confined_context import FREE, ConfinedContext
from mgr.module_api.context import ModuleContext
from mgr.module_api.manifest import Manifest

_Check = Callable[[Any, tuple[Any, ...]], Any]

_ALIKE: Final = (
    *("set_store", "commit_store", "watch_store", "unwatch_store", "get_map_versions"),
    *("set_map", "remove_map", "set_ceph_documents", "set_device_wear_level", "mon_command"),
    *("get_servers", "get_daemons", "get_metadata", "get_daemon_status"),
    *("get_daemon_health_metrics", "get_counter_rows", "get_counter", "get_latest_counter"),
    "get_latest_labelled_counter",
)
"""Requests with the name and the arguments of a method of the context."""


def _call_alike(name: str, seen: Any, args: tuple[Any, ...]) -> Any:
    return getattr(seen, name)(*args)


_CHECKS: Final[Mapping[str, _Check]] = {
    **{name: partial(_call_alike, name) for name in _ALIKE},
    "get_option": lambda seen, args: seen.get_option(*args[:2]),
    "set_option": lambda seen, args: seen.set_option(*args[:3]),
    "document": lambda seen, args: seen.get(*args),
    "map": lambda seen, args: seen.get_map(*args),
    "remote": lambda seen, args: seen.remote(*args[:2], (), {}),
    "get_perf_schema": lambda seen, args: seen.get_perf_schema(*args[:2], labelled=args[2]),
    # A command that is not allowed is answered in the module's process.
    "send_command": lambda seen, args: _refuse_denied(seen.mon_command(args[0], args[1])),
}
_LISTS: Final = frozenset(
    {
        *("get_servers", "get_daemons", "get_daemon_health_metrics", "get_perf_schema"),
        *("get_counter_rows", "get_map_versions"),
    }
)
"""Requests whose result leaves out what may not be read."""
_DONE: Final = (0, "", "")


class _Given:
    """Stands for a context: each method returns what it was given."""

    manager_id = ""

    def __init__(self) -> None:
        self.result: Any = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_args, **_kwargs: self.result


class ConfinedRequests:
    """What one module may ask. Use it on the loop."""

    def __init__(self, module: str, manifest: Manifest | None) -> None:
        """Check by ``manifest`` if it wants that; let everything pass otherwise."""
        self._module = module
        self._given = _Given()
        self._seen: ConfinedContext | None = None
        if manifest is not None and manifest.enforce:
            inner = cast("ModuleContext", self._given)
            self._seen = ConfinedContext(inner, module, manifest)

    @property
    def enforces(self) -> bool:
        """Whether anything is checked."""
        return self._seen is not None

    def check(self, name: str, args: tuple[Any, ...]) -> tuple[int, str, str] | None:
        """Check a request before it is run; return its answer if that is a refusal.

        Raises:
            PermissionError: It is denied; the text names the entry of the manifest.

        """
        if self._seen is None or name in FREE:
            return None
        check = _CHECKS.get(name)
        if check is None:
            raise PermissionError(errno.EACCES, f"module {self._module!r} may not use {name}")
        self._given.result = _DONE if name in {"mon_command", "send_command"} else {}
        answer = check(self._seen, args)
        denied: bool = name == "mon_command" and answer != _DONE
        return answer if denied else None

    def filtered(self, name: str, args: tuple[Any, ...], result: Any) -> Any:
        """Return what of ``result`` the module may read."""
        if self._seen is None or name not in _LISTS:
            return result
        self._given.result = result
        return _CHECKS[name](self._seen, args)


def _refuse_denied(answer: tuple[int, str, str]) -> None:
    if answer != _DONE:
        raise PermissionError(errno.EACCES, answer[2])
