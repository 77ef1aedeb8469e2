"""What all code of one Python process shares, and what a module must therefore not change there.

In ceph-mgr a module has an interpreter of its own. Here modules in threads share the worker's, with
each other and with the manager: a replaced ``time.monotonic`` or a default time-out of sockets is
everybody's. So a module whose *import* changes such a thing runs in a process of its own, where it
may (docs/adr/0074); what is changed later in the worker is undone.

Only what breaks others counts: adding something, or raising a limit, breaks nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import math
import os
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

MODULES: Final = (
    *("builtins", "io", "os", "time", "datetime", "signal", "subprocess", "tempfile", "shutil"),
    *("socket", "ssl", "select", "selectors", "http.client", "threading", "_thread", "queue"),
    *("json", "pickle", "struct", "copyreg", "logging", "functools", "contextlib", "importlib"),
    *("asyncio", "asyncio.events", "asyncio.tasks", "asyncio.locks", "asyncio.base_events"),
)
"""Their functions and classes count."""
CLASSES: Final = (
    *(("socket", "socket"), ("threading", "Thread"), ("subprocess", "Popen")),
    ("mgr.module_api.module", "MgrModule"),
)
"""So do the methods of these."""
LIMITS: Final = (
    *(resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_AS, resource.RLIMIT_DATA),
    *(resource.RLIMIT_STACK, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU),
)
"""Limits of the process that a module may lower."""
SPARED: Final = frozenset({"os._exit", "threading.excepthook"})
"""Not counted: the worker keeps its own ``_exit``, which modules of Ceph replace; a hook is called
only when a thread has failed."""
CHECK_EVERY_S: Final = 1.0
"""How long what a module changes in its constructor, ``serve`` or a command lasts at most."""
_INHERITED: Final = object()
"""Stands for a method that a class has from its base."""
NAMES_MAX: Final = 8
"""Names of what was changed that are shown."""

log = logging.getLogger(__name__)


class _Aspect(NamedTuple):
    """One thing that is shared: how to read it, when a change of it counts, how to undo that."""

    name: str
    read: Callable[[], Any]
    counts: Callable[[Any, Any], bool]
    undo: Callable[[Any], object]


class SharedState:
    """What is shared in this process at one moment."""

    def __init__(self) -> None:
        """Remember the present state. Takes about four milliseconds."""
        self._aspects = {each: each.read() for each in ASPECTS}
        self._kept_changes: set[str] = set()
        self._modules = dict(sys.modules)
        self._callables = {
            (owner_name, name): (owner, vars(owner).get(name, _INHERITED))
            for owner_name, owner in _owners()
            for name in dir(owner)
            if _is_counted(owner_name, name) and callable(getattr(owner, name, None))
        }

    def changes(self) -> tuple[str, ...]:
        """Return the names of what has been changed since, in ascending order."""
        return tuple(sorted({name for name, _ in self._changed()}))

    def restore(self) -> tuple[str, ...]:
        """Undo every change since; return the names of what was changed.

        What cannot be undone, such as a hard limit of a process without privileges, is named once.
        """
        undone = set()
        for name, undo in self._changed():
            try:
                undo()
            except Exception:  # noqa: BLE001 - whatever one of them raises, the others are undone
                if name in self._kept_changes:
                    continue
                self._kept_changes.add(name)
            undone.add(name)
        return tuple(sorted(undone))

    def _changed(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield the name of each thing that was changed, and what undoes it.

        Functions come first: what undoes the rest calls some.
        """
        for (owner_name, name), (owner, value) in self._callables.items():
            if vars(owner).get(name, _INHERITED) is not value:
                undo = partial(setattr, owner, name, value)
                if value is _INHERITED:
                    undo = partial(delattr, owner, name)
                yield f"{owner_name}.{name}", undo
        for name, module in self._modules.items():
            if sys.modules.get(name) is not module:
                yield "sys.modules", partial(sys.modules.__setitem__, name, module)
        for aspect, before in self._aspects.items():
            if aspect.counts(before, aspect.read()):
                yield aspect.name, partial(aspect.undo, before)


_importing: Final = Lock()
_worker: Final[list[SharedState]] = []
"""The state that holds in the worker; empty elsewhere: a module's own process is its own."""
_constructed: Final[set[str]] = set()
"""The modules constructed in the worker since the last check, which may have changed something."""


async def keep_shared_state() -> None:
    """Keep the present state in this process, which modules share, until cancelled."""
    _worker.append(SharedState())
    try:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            # An import may change something for a moment; what stays is undone when it has ended.
            if not _importing.locked():
                modules = sorted(_constructed)
                _constructed.difference_update(modules)
                undo_changes(", ".join(modules))
    finally:
        _worker.clear()


@contextlib.contextmanager
def one_import(turn_s: float) -> Iterator[None]:
    """Import one module at a time: what it changes is its own, and it meets no half-done import.

    Those that began before it are waited for, at most ``turn_s`` seconds: one may never return.
    """
    is_alone = _importing.acquire(timeout=turn_s)
    try:
        yield
    finally:
        if is_alone:
            _importing.release()


def note_constructed(module: str) -> None:
    """Name ``module`` if the next check finds something changed. From any thread.

    There is no check for each: it takes half a millisecond, and a term begins with many.
    """
    if _worker:
        _constructed.add(module)


def undo_changes(module: str = "") -> None:
    """Undo what was changed of what is kept, and log it; ``module``: who may have changed it.

    From any thread; raises nothing. Does nothing in a process that modules do not share.
    """
    for state in _worker:
        # It would end the process, and nothing tells whether a module has set it.
        faulthandler.cancel_dump_traceback_later()
        if changed := state.restore():
            fields = {"module_name": module, "changed": changed_text(changed)}
            log.error("undone: a module changed what all modules share", extra=fields)


def changed_text(names: tuple[str, ...]) -> str:
    """Return ``names`` in one short line."""
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _owners() -> Iterator[tuple[str, Any]]:
    for name in MODULES:
        if module := sys.modules.get(name):
            yield name, module
    for module_name, class_name in CLASSES:
        if cls := getattr(sys.modules.get(module_name), class_name, None):
            yield f"{module_name}.{class_name}", cls


def _is_counted(owner_name: str, name: str) -> bool:
    special = name.startswith("__") and name != "__import__"
    return not special and f"{owner_name}.{name}" not in SPARED


def _umask() -> int | None:
    """Return the mask of new files, without setting it as ``os.umask`` does for all threads."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return None


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it was removed
        return ""


def _put_first(path: list[Any], before: tuple[Any, ...]) -> None:
    path[:] = [*before, *(each for each in path if each not in before)]


def _error_filters() -> tuple[Any, ...]:
    return tuple(each for each in warnings.filters if each[0] == "error")


def _drop_error_filters(before: tuple[Any, ...]) -> None:
    warnings.filters[:] = [  # type: ignore[index]  # typed as a Sequence, and is a list
        each for each in warnings.filters if each[0] != "error" or each in before
    ]


def _limits() -> dict[int, tuple[int, int]]:
    return {each: resource.getrlimit(each) for each in LIMITS}


def _is_lower(before: dict[int, tuple[int, int]], now: dict[int, tuple[int, int]]) -> bool:
    def height(limit: int) -> float:
        return math.inf if limit == resource.RLIM_INFINITY else limit

    return any(height(now[each][0]) < height(before[each][0]) for each in before)


def _set_limits(before: dict[int, tuple[int, int]]) -> None:
    for each, limit in before.items():
        resource.setrlimit(each, limit)


def _hooks() -> tuple[Any, Any]:
    threads = sys.modules["threading"]
    return threads.gettrace(), threads.getprofile()


def _set_hooks(before: tuple[Any, Any]) -> None:
    threads = sys.modules["threading"]
    threads.settrace(before[0])
    threads.setprofile(before[1])


def _differs(before: Any, now: Any) -> bool:
    return bool(before != now)


ASPECTS: Final = (
    _Aspect("resource.setrlimit", _limits, _is_lower, _set_limits),
    _Aspect(
        "sys.setrecursionlimit",
        sys.getrecursionlimit,
        lambda before, now: now < before,
        sys.setrecursionlimit,
    ),
    _Aspect(
        "sys.setswitchinterval",
        sys.getswitchinterval,
        lambda before, now: now > before,
        sys.setswitchinterval,
    ),
    _Aspect(
        "socket.setdefaulttimeout", socket.getdefaulttimeout, _differs, socket.setdefaulttimeout
    ),
    _Aspect("os.chdir", _cwd, _differs, os.chdir),
    _Aspect("os.umask", _umask, lambda before, now: now not in {None, before}, os.umask),
    _Aspect(
        "gc.disable", gc.isenabled, lambda before, now: before and not now, lambda _: gc.enable()
    ),
    _Aspect(
        "sys.path",
        lambda: tuple(sys.path),
        lambda before, now: now[: len(before)] != before,
        lambda before: _put_first(sys.path, before),
    ),
    _Aspect(
        "sys.meta_path",
        lambda: tuple(sys.meta_path),
        lambda before, now: not set(map(id, before)) <= set(map(id, now)),
        lambda before: _put_first(sys.meta_path, before),
    ),
    _Aspect(
        "warnings.filters",
        _error_filters,
        lambda before, now: any(each not in before for each in now),
        _drop_error_filters,
    ),
    _Aspect(
        "signal.setitimer",
        lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        lambda before, now: now and not before,
        lambda _: signal.setitimer(signal.ITIMER_REAL, 0),
    ),
    _Aspect("threading.settrace", _hooks, _differs, _set_hooks),
    _Aspect(
        "sys.stdout",
        lambda: (sys.stdout, sys.stderr),
        lambda before, now: any(
            was is not None and (each is None or getattr(each, "closed", False))
            for was, each in zip(before, now, strict=True)
        ),
        lambda before: vars(sys).update(stdout=before[0], stderr=before[1]),
    ),
)
