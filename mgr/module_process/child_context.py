"""Implements the module context in a module's own process.

Options, the module's own entries and documents are read from copies in this process. The worker
sends every change before it sends the notification of it, and before the answer to the write that
caused it: what a module wrote it reads, on every thread, when the write has returned. Everything
else is asked of the worker under the same name.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from mgr.cluster.frozen import freeze
from mgr.cluster.owned import owned
from mgr.config.manager_options import manager_options
from mgr.config.schema import Schemas
from mgr.config.values import ConfigValues
from mgr.host.counter_reader import CounterReader
from mgr.module_api.context import OptionValue
from mgr.module_process.child_counters import SharedCounters, unpacked_rows
from mgr.module_process.child_link import ChildLink
from mgr.module_process.messages import loads
from mgr.module_process.remote import pickled_arguments, remote_result
from mgr.store.api import NO_LEASE, Record, Revision
from mgr.store.keys import Keys

_UNREAD: Final = object()
_ANY: Final = Revision(1)

Completion = Callable[[int, str, str], None]
CallOwn = Callable[[str, tuple[Any, ...], dict[str, Any]], tuple[str, Any]]


class _Document:
    """A document as it was received; decoded once, by its first reader."""

    __slots__ = ("_content", "_lock", "_value", "version")

    def __init__(self, content: bytes | None, version: int = 0) -> None:
        self.version = version
        self._content = content
        self._value: Any = _UNREAD
        self._lock = threading.Lock()

    def value(self) -> Any:
        """Return the document, read only."""
        if self._value is _UNREAD:
            with self._lock:
                if self._value is _UNREAD:
                    content = self._content
                    self._value = None if content is None else freeze(loads(content))
                    self._content = None
        return self._value


class ChildStandbyContext:
    """Implements ``mgr.module_api.context.StandbyContext``."""

    def __init__(self, link: ChildLink, seed: Mapping[str, Any]) -> None:
        """Begin with the copies that the worker made in ``seed``."""
        self._link = link
        self._module: str = seed["module"]
        self.manager_id: str = seed["manager_id"]
        self._mgr_ips: Any = seed["mgr_ips"]
        keys = Keys(seed["cluster"])
        schemas = Schemas(manager_options(seed["readonly"]))
        schemas.put(self._module, seed["options"])
        self._records: dict[str, Record] = {}
        self._config = ConfigValues(self.manager_id, schemas, keys)
        self.apply_config(seed["config"])
        self._typed_option = self._config.typed
        self._entries: dict[str, str] = dict(seed["entries"])
        # Replaced, never changed in place: another thread may be iterating over the old list.
        self._names: list[str] = sorted(self._entries)
        self.get_store = self._entries.get

    def get_option(self, module: str, name: str, *, localized: bool = False) -> OptionValue:
        """See ``mgr.module_api.context``."""
        if module == self._module:
            return self._typed_option(module, name, localized=localized)
        found: OptionValue = self._link.call("get_option", module, name, localized)
        return found

    def get_native_option(self, name: str) -> OptionValue:
        """See ``mgr.module_api.context``."""
        return self._config.manager_option(name)

    def get_active_uri(self) -> str:
        """See ``mgr.module_api.context``."""
        return str(self._link.call("get_active_uri"))

    def get(self, data_name: str) -> Any:
        """Return ``mgr_ips``; None for anything else, which only the active has."""
        return loads(self._mgr_ips) if data_name == "mgr_ips" else None

    # -- called with the worker's messages, on the main thread -----------------------------------

    def apply_config(self, changes: Sequence[tuple[str, str | None]]) -> None:
        """Take in changed options; None for one that was removed."""
        for key, value in changes:
            if value is None:
                self._records.pop(key, None)
            else:
                self._records[key] = Record(key, value, _ANY, _ANY, NO_LEASE)
        self._config.load(self._records)

    def apply_entries(self, changes: Sequence[tuple[str, str | None]]) -> None:
        """Take in changed entries; None for one that was removed."""
        before = len(self._entries)
        for key, value in changes:
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        if len(self._entries) != before or any(value is None for _, value in changes):
            self._names = sorted(self._entries)

    def apply_stale(self, documents: Sequence[str], maps: Sequence[str]) -> None:
        """Forget documents that have changed."""


class ChildContext(ChildStandbyContext):
    """Implements ``mgr.module_api.context.ModuleContext``."""

    def __init__(self, link: ChildLink, seed: Mapping[str, Any]) -> None:
        """Begin with the copies that the worker made in ``seed``."""
        super().__init__(link, seed)
        self._term: int = seed["term"]
        self._documents: dict[str, _Document] = {}
        self._maps: dict[str, _Document] = {}
        self._numbers = itertools.count(1)
        self._completions: dict[int, Completion] = {}
        self._read_counters_here(seed.get("counters", ""))
        self.call_own: CallOwn = lambda _method, _args, _kwargs: ("absent", "")
        """Calls a method of this module itself."""

    def _read_counters_here(self, path: str) -> None:
        """Read counters in memory that the worker shares; without it they are asked for."""
        if not path:
            return
        try:
            reader = CounterReader(SharedCounters(self._link.call, path))
        except OSError:
            return
        for name in READ_HERE:
            setattr(self, name, self._or_asked(name, getattr(reader, name)))

    def _or_asked(self, name: str, read: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``read``; once it gets no memory, the worker is asked instead."""

        def call(*args: Any) -> Any:
            try:
                return read(*args)
            except OSError:
                for each in READ_HERE:
                    vars(self).pop(each, None)
                return getattr(self, name)(*args)

        return call

    def get_term(self) -> int:
        """See ``mgr.module_api.context``."""
        return self._term

    def get_foreign_option(self, entity: str, name: str) -> OptionValue:
        """See ``mgr.module_api.context``."""
        return self._config.manager_option_of(entity, name)

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        names, entries, found = self._names, self._entries, {}
        for index in range(bisect_left(names, prefix), len(names)):
            name = names[index]
            if not name.startswith(prefix):
                break
            if (value := entries.get(name)) is not None:
                found[name] = value
        return found

    # -- documents ------------------------------------------------------------------------------

    def get(self, data_name: str) -> Any:
        """See ``mgr.module_api.context``."""
        known = self._documents.get(data_name) or self._maps.get(data_name)
        if known is not None:
            return owned(known.value())
        content = self._link.call(
            "document", data_name, on_result=lambda body: self._keep(data_name, body)
        )
        return owned(_Document(content[-1]).value())

    def get_map(self, name: str) -> tuple[int, Any]:
        """See ``mgr.module_api.context``."""
        known = self._maps.get(name)
        if known is None:
            _, version, content = self._link.call(
                "map", name, on_result=lambda body: self._keep(name, body)
            )
            known = self._maps.get(name) or _Document(content, version)
        return known.version, known.value()

    def _keep(self, name: str, answer: tuple[Any, ...]) -> None:
        """Keep a document for as long as the worker does not say that it has changed."""
        match answer:
            case ("document", content):
                self._documents[name] = _Document(content)
            case ("map", version, content):
                self._maps[name] = _Document(content, version)

    def apply_stale(self, documents: Sequence[str], maps: Sequence[str]) -> None:
        """Forget documents that have changed."""
        for name in documents:
            self._documents.pop(name, None)
        for name in maps:
            self._maps.pop(name, None)

    # -- asked of the worker ----------------------------------------------------------------------

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        """See ``mgr.module_api.context``."""
        self._link.call("set_option", module, name, value, localized)

    def set_store(self, key: str, value: str | None) -> None:
        """See ``mgr.module_api.context``."""
        self._link.call("set_store", key, value)

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """See ``mgr.module_api.context``."""
        return bool(self._link.call("commit_store", dict(changes), dict(expected)))

    def get_map_versions(self) -> dict[str, int]:
        """See ``mgr.module_api.context``."""
        found: dict[str, int] = self._link.call("get_map_versions")
        return found

    def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """See ``mgr.module_api.context``."""
        version: int | None = self._link.call("set_map", name, text, expected_version)
        return version

    def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """See ``mgr.module_api.context``."""
        removed: bool | None = self._link.call("remove_map", name, expected_version)
        return removed

    def update_progress_event(
        self, evid: str, message: str, progress: float, *, shown: bool
    ) -> None:
        """See ``mgr.module_api.context``."""
        self._link.call("update_progress_event", evid, message, progress, shown)

    def get_counter_rows(self, kind: str, lowest_priority: int) -> list[dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        return unpacked_rows(self._link.call("get_counter_rows", kind, lowest_priority))

    def get_perf_schema(self, kind: str, name: str, *, labelled: bool) -> dict[str, dict[str, Any]]:
        """See ``mgr.module_api.context``."""
        found: dict[str, dict[str, Any]]
        found = self._link.call("get_perf_schema", kind, name, labelled)
        return found

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        retval, stdout, stderr = self._link.call("mon_command", dict(arguments), inbuf)
        return retval, stdout, stderr

    def identify(
        self, token: str, certificate: bytes, address: str, *, encrypted: bool
    ) -> dict[str, Any] | None:
        """See ``mgr.module_api.context``."""
        found: dict[str, Any] | None
        found = self._link.call("identify", token, certificate, address, encrypted)
        return found

    def permitted(self, caller: Mapping[str, Any], prefixes: Collection[str]) -> set[str]:
        """See ``mgr.module_api.context``."""
        found: set[str] = self._link.call("permitted", dict(caller), list(prefixes))
        return found

    def run_as(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str
    ) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        retval, stdout, stderr = self._link.call("run_as", dict(caller), list(words), inbuf)
        return retval, stdout, stderr

    def send_command(
        self,
        arguments: Mapping[str, Any],
        inbuf: str | None,
        tag: str,
        *,
        absent: str,
        complete: Completion,
    ) -> None:
        """See ``mgr.module_api.context``. ``complete`` stays here under a number."""
        number = next(self._numbers)
        self._completions[number] = complete
        try:
            self._link.call("send_command", dict(arguments), inbuf, tag, absent, number)
        except BaseException:
            self._completions.pop(number, None)
            raise

    def take_completion(self, number: int) -> Completion:
        """Return the callback of a command that was sent under ``number``, once."""
        return self._completions.pop(number)

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """See ``mgr.module_api.context``. Values that cannot be pickled cannot be passed."""
        if module == self._module:
            return remote_result(self.call_own(method, tuple(args), dict(kwargs)))
        payload = pickled_arguments(module, method, args, kwargs)
        return remote_result(self._link.call("remote", module, method, payload))


READ_HERE: Final = ("get_counter", "get_latest_counter", "get_latest_labelled_counter")
"""Methods that read memory which the worker shares."""

ASKED: Final = frozenset(
    {
        *("watch_store", "unwatch_store", "load_database", "store_database"),
        *("set_ceph_documents", "register_ceph_client"),
        *("set_health_checks", "set_uri", "complete_progress_event"),
        *("clear_all_progress_events", "cluster_log", "have_store_connection", "notify_all"),
        *("get_servers", "get_metadata", "get_daemon_status", "get_daemon_health_metrics"),
        *("set_device_wear_level", "get_daemons", "get_counter"),
        *("get_latest_counter", "get_latest_labelled_counter"),
        "identification_required",
    }
)
"""Methods of ``ModuleContext`` that are asked of the worker with their arguments as they are."""


def _asking(name: str) -> Callable[..., Any]:
    """Return a method that asks the worker for ``name`` with its arguments as they are."""

    def ask(self: ChildContext, *args: Any) -> Any:
        return self._link.call(name, *args)

    ask.__name__ = name
    return ask


# Not by ``__getattr__``: a class that has one makes each of its attributes slower to read.
for _name in ASKED:
    setattr(ChildContext, _name, _asking(_name))
