"""Runs one module in a test, in place of a manager.

Commands, notifications and changed options run on the test's own thread, one after the other, so
that an exception points at its line. Only ``serve`` runs on a thread, while a test uses it.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self

from mgr.clock import CLOCK
from mgr.command.dispatch import to_answer
from mgr.command.registry import Command as RegistryCommand
from mgr.command.registry import Registry
from mgr.errors import MgrError
from mgr.host.finder import FILE, DiscoveredModule, ModuleLocation, load, with_declarations
from mgr.host.module_package import package_of
from mgr.module_api.ceph import bindings
from mgr.module_api.confined_context import confined
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.module_api.notify import STORE
from mgr.module_api.result import HandleCommandResult
from mgr.testing.clock import ManualClock, take_over
from mgr.testing.context import Context

TIMEOUT_S: Final = 10.0
"""How long a test waits for a thread of its module."""
ROUNDS_MAX: Final = 100
"""Notifications that a module may cause while it handles others, before it counts as a loop."""
EINVAL: Final = 22

Loadable = str | Path | type[MgrModule] | ModuleType


class Host:
    """Runs one module. Use it as the fixture ``mgr_host``, or in a ``with`` statement.

    Attributes:
        module: The running instance, after ``load``.
        context: The fake manager of the module; shows what the module did.
        clock: Used by ``take_over_time``; may be passed to any code that takes a clock.
        maps: Documents that ``get`` returns, by name; by default the manager's own.
        neighbours: Other modules for ``remote``: any object, by name.

    """

    def __init__(self) -> None:
        """Begin with no module."""
        self.module: Any = None
        self.clock = ManualClock()
        self.maps: dict[str, Any] = {}
        self.neighbours: dict[str, Any] = {}
        self._found: DiscoveredModule | None = None
        self._context: Context | None = None
        self._registry = Registry()
        self._notifications: list[tuple[str, Any]] = []
        self._cleanup = contextlib.ExitStack()
        self._inherited: Context | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the module's imports. The instance stays usable."""
        self._cleanup.close()

    @property
    def context(self) -> Context:
        """The fake manager of the module; shows what the module did."""
        if self._context is None:
            raise AssertionError("load() a module first")
        return self._context

    # -- lifecycle --------------------------------------------------------------------------

    def load(
        self, what: Loadable, *, name: str = "", options: Mapping[str, object] | None = None
    ) -> Any:
        """Load a module as the manager does, construct it, and return the instance.

        Args:
            what: Its class, its package (or the package's import name), or its folder (a path or
                its text).
            name: Its name; by default that of its package.
            options: Its options, as an operator would set them before it starts.

        Raises:
            ImportError: The manager would not load it; the text is the error it would report.
            ValueError: An option does not fit.

        """
        found = self.find(what, name=name)
        if found.active is None or not found.can_run:
            raise ImportError(f"module {found.name!r}: {found.error}")
        self._registry.put(
            found.name, [RegistryCommand.of_module(found.name, c) for c in found.commands]
        )
        self._context = self._new_context("a", found)
        if self._inherited is not None:
            _hand_on(self._inherited, self._context)
        for option, value in (options or {}).items():
            self.context.set_option(found.name, option, str(value))
        return self._construct()

    def find(self, what: Loadable, *, name: str = "") -> DiscoveredModule:
        """Import a module as the manager does, and return what it declares or why it fails.

        Takes what ``load`` takes, and constructs nothing.
        """
        self._cleanup.callback(bindings.install_stand_ins())
        self._found = _discover(what, name, self._cleanup)
        return self._found

    def fail_over(self, manager_id: str = "b") -> Any:
        """Simulate a failover to another manager; return the new instance.

        Options, entries and the database are kept; all else is lost, as after ``kill -9``.
        """
        found, before = self._loaded(), self.context
        self._context = self._new_context(manager_id, found)
        _hand_on(before, self.context)
        return self._construct()

    def inherit(self, other: Host) -> None:
        """Let the next ``load`` begin with what the module of ``other`` has stored."""
        self._inherited = other.context
        self.maps = other.maps

    def standby(self, manager_id: str = "b") -> Any:
        """Construct the standby class, as on another manager; it has the active's address."""
        found = self._loaded()
        if found.standby is None:
            raise AssertionError(f"module {found.name!r} has no MgrStandbyModule")
        context = self._new_context(manager_id, found)
        context.store = self.context.store
        context.stored_options = self.context.stored_options
        context.active_uri = self.context.uri
        return found.standby(found.name, context)

    @contextlib.contextmanager
    def serving(self, module: Any = None, *, limit_s: float | None = None) -> Iterator[Any]:
        """Run ``serve`` on a thread during a ``with`` block, then call ``shutdown`` and wait.

        Raises what ``serve`` raised. ``module`` may be a standby instance; default: the active.

        Raises:
            TimeoutError: It does not end within ``limit_s`` (default: 10) after ``shutdown``.

        """
        served = self.module if module is None else module
        future = _serving(served)
        try:
            yield served
        finally:
            served.shutdown()
            waited_s = TIMEOUT_S if limit_s is None else limit_s
            done, _ = wait({future}, waited_s)
        if not done:
            raise TimeoutError(f"serve() still runs {waited_s:g} s after shutdown()")
        future.result()

    def wait_until(self, state: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
        """Wait in real time until ``state()`` is true: for work of the module's threads.

        Raises:
            TimeoutError: It is not true after ``timeout_s``.

        """
        end_s = CLOCK.now() + timeout_s
        while not state():
            if CLOCK.now() > end_s:
                raise TimeoutError(f"not within {timeout_s:g} s")
            # Polls, because the module's threads have no event to wait for.
            wait((), 0.001)

    def take_over_time(self) -> ManualClock:
        """Make ``time`` and ``datetime`` in the module's own files use ``clock``.

        ``advance`` and ``time.sleep`` advance it and return at once. Waits of threads
        (``Event.wait``) use real time.
        """
        package = type(self.module).__module__.rpartition(".")[0] or type(self.module).__module__
        files = [
            file
            for name, file in tuple(sys.modules.items())
            if name == package or name.startswith(f"{package}.")
        ]
        if type(self.module).__module__ not in sys.modules:
            raise AssertionError("the module's class is not defined in an imported file")
        self._cleanup.callback(take_over(self.clock, files))
        return self.clock

    # -- input ------------------------------------------------------------------------------

    def run(
        self, words: str, /, inbuf: str = "", *, catch: bool = True, **arguments: object
    ) -> HandleCommandResult:
        """Find a command by its words, check its arguments, run it and return the result.

        ``words`` is a command line, arguments included; ``arguments`` are further ones by name. The
        result is what a client would get: for an exception it contains the traceback. With
        ``catch=False`` the exception is raised instead.
        """
        try:
            command, request = self._registry.find(shlex.split(words), arguments)
        except MgrError as error:
            return HandleCommandResult(-error.errno, "", str(error))
        try:
            result = self.module._handle_command(inbuf, request)  # noqa: SLF001 - Ceph's name
        except Exception:
            if not catch:
                raise
            result = -EINVAL, "", traceback.format_exc()
        answer = to_answer(result, command, self.context.term)
        self._deliver()
        return HandleCommandResult(answer.retval, answer.stdout, answer.stderr)

    def notify(self, kind: str, notify_id: Any = "") -> None:
        """Notify the module of ``kind``, if it is in its ``NOTIFY_TYPES``."""
        self._enqueue(kind, notify_id)
        self._deliver()

    def set_option(self, name: str, value: object, *, localized: bool = False) -> None:
        """Set an option as an operator would, and notify the module. None removes it.

        Raises:
            ValueError: The value does not fit the declaration.

        """
        text = None if value is None else str(value)
        self.context.set_option(self._loaded().name, name, text, localized=localized)
        self._deliver()

    def publish(self, name: str, document: Mapping[str, Any]) -> int:
        """Publish a map as another module would, notify this module; return the version."""
        version = self.context.publish(name, document)
        self._deliver()
        return version

    def answer(self, prefix: str, retval: int = 0, stdout: str = "", stderr: str = "") -> None:
        """Set the result of ``mon_command`` for commands with ``prefix``."""
        self.context.answers[prefix] = (retval, stdout, stderr)

    # -- output -----------------------------------------------------------------------------

    @property
    def store(self) -> dict[str, str]:
        """The module's entries."""
        return self.context.store

    @property
    def health(self) -> dict[str, Any]:
        """The module's health checks, by code."""
        return self.context.health

    @property
    def progress(self) -> dict[str, dict[str, Any]]:
        """The module's progress events, by id."""
        return self.context.progress

    @property
    def uri(self) -> str:
        """The address the module published."""
        return self.context.uri

    @property
    def cluster_log(self) -> list[tuple[str, int, str]]:
        """The lines the module wrote to the cluster log: channel, priority, message."""
        return self.context.cluster_lines

    def usages(self) -> list[str]:
        """Return how each command of the module is typed, sorted."""
        return sorted(each.signature.usage() for each in self._registry.all())

    def option_names(self) -> list[str]:
        """Return the names of the module's options, as declared."""
        return [str(each["name"]) for each in self._loaded().options]

    # -- inside -----------------------------------------------------------------------------

    def _loaded(self) -> DiscoveredModule:
        if self._found is None:
            raise AssertionError("load() a module first")
        return self._found

    def _new_context(self, manager_id: str, found: DiscoveredModule) -> Context:
        context = Context(
            found.name, found.active, manager_id=manager_id, neighbours=self.neighbours
        )
        self.maps.setdefault("mgr_ips", context.documents["mgr_ips"])
        context.documents = self.maps
        return context

    def _construct(self) -> Any:
        found, context = self._loaded(), self.context
        if found.active is None:
            raise AssertionError("only what was loaded is constructed")
        reached = confined(context, found.name, found.manifest)
        self.module = found.active(found.name, reached, 0)
        self.neighbours[found.name] = self.module
        # As in the manager: nothing is notified before the module is constructed.
        context.on_notification = self._enqueue
        return self.module

    def _enqueue(self, kind: str, notify_id: Any) -> None:
        if (kind in {"config", STORE} or kind in self._loaded().notify_types) and (
            (kind, notify_id) not in self._notifications
        ):
            self._notifications.append((kind, notify_id))

    def _deliver(self) -> None:
        for _ in range(ROUNDS_MAX):
            if not self._notifications:
                return
            kind, notify_id = self._notifications.pop(0)
            if kind == "config":
                self.module._config_notify()  # noqa: SLF001 - Ceph's name
            else:
                self.module.notify(kind, notify_id)
        raise AssertionError(f"each {kind!r} notification causes another one")


def _hand_on(before: Context, after: Context) -> None:
    """Give ``after``, the context of the next term, what outlives a term."""
    after.store = before.store
    after.database = before.database
    after.stored_options = before.stored_options
    after.native = before.native
    after.answers = before.answers
    after.people = before.people
    after.term = before.term + 1


def _serving(module: Any) -> Future[None]:
    ended: Future[None] = Future()

    def serve() -> None:
        try:
            module.serve()
        except BaseException as error:  # noqa: BLE001 - raised where the test waits for it
            ended.set_exception(error)
        else:
            ended.set_result(None)

    # Not an executor: Python waits for its threads at exit, and serve() may never return.
    threading.Thread(target=serve, name=f"{module.module_name}-serve", daemon=True).start()
    return ended


def _discover(what: Loadable, name: str, cleanup: contextlib.ExitStack) -> DiscoveredModule:
    if isinstance(what, type):
        package, _, last = what.__module__.rpartition(".")
        own_name = package.rpartition(".")[2] if last == "module" else last
        found = DiscoveredModule(
            name=name or own_name, place=f"{what.__module__}.{what.__qualname__}"
        )
        return with_declarations(found, what, _standby_beside(what))
    if isinstance(what, str) and (Path(what) / FILE).is_file():
        what = Path(what)
    if isinstance(what, Path):
        place = what.absolute()
        cleanup.callback(_append(str(place.parent)))
        package = package_of(place)
        cleanup.callback(_unload, package)
        return load(ModuleLocation(name or place.name, package, str(place / FILE)))
    package = what if isinstance(what, str) else what.__name__
    return load(ModuleLocation(name or package.rpartition(".")[2], package, package))


def _standby_beside(cls: type[MgrModule]) -> type[MgrStandbyModule] | None:
    file = sys.modules.get(cls.__module__)
    halves = [
        each
        for each in (vars(file).values() if file else ())
        if isinstance(each, type)
        and issubclass(each, MgrStandbyModule)
        and each.__module__ == cls.__module__
    ]
    return halves[0] if len(halves) == 1 else None


def _unload(package: str) -> None:
    # Another test may have a folder of this name elsewhere.
    for name in tuple(sys.modules):
        if name == package or name.startswith(f"{package}."):
            del sys.modules[name]


def _append(folder: str) -> Callable[[], None]:
    sys.path.append(folder)

    def remove() -> None:
        # A fixture of the test may have restored the path before.
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)

    return remove
