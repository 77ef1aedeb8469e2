"""Implements the module context on the active: what a module calls, from its own threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from mgr.active.modules.background_commands import deliver_in_thread
from mgr.active.modules.operations import COMMAND_S, ModuleOperations, decoded_documents
from mgr.active.term_parts import TermParts
from mgr.errors import MgrError
from mgr.host.bridge import Bridge
from mgr.host.context import ReadOnlyContext
from mgr.module_api.context import OptionValue

WRITE_S: Final = 6.0
"""How long a module waits for a write. Longer than the write's own time-out, so that the module
gets the store's error and not ours."""
LOOP_CALL_S: Final = 5.0
"""Limit for calls on the loop that only touch memory."""
DATABASE_S: Final = 20.0
"""Limit for reading or writing a whole database, which takes several writes if it is large."""
REMOTE_S: Final = 600.0
"""Limit for a call of a module in a process of its own."""

T = TypeVar("T")


class ActiveContext(ReadOnlyContext):
    """Implements ``mgr.module_api.context.ModuleContext`` for one module.

    Its methods run on the module's threads. Reads use the mirror directly; whatever changes
    something runs on the loop, and the calling thread waits for the result.
    """

    def __init__(self, parts: TermParts, module: str, bridge: Bridge) -> None:
        """Run work on the loop by ``bridge``; once it is closed, writes raise ``TermLostError``."""
        super().__init__(parts.manager, module)
        self._parts = parts
        self._bridge = bridge
        self._operations = ModuleOperations(parts, module)
        # Bound once: without a Ceph cluster there is nothing to wait for.
        with_ceph = bool(parts.manager.settings.ceph_conf)
        self.get = self._read_with_ceph if with_ceph else parts.maps.read
        self.get_map = parts.maps.read_published
        self.get_map_versions = parts.maps.versions
        # These read on the calling thread; they never wait for the loop.
        fleet = parts.fleet_reader
        self.get_servers = fleet.get_servers
        self.get_metadata = fleet.get_metadata
        self.get_daemon_status = fleet.get_daemon_status
        self.get_daemon_health_metrics = fleet.get_daemon_health_metrics
        self.get_perf_schema = fleet.get_perf_schema
        self.get_daemons = parts.counter_rows.get_daemons
        self.get_counter_rows = parts.counter_rows.get_counter_rows
        self.get_counter = fleet.get_counter
        self.get_latest_counter = fleet.get_latest_counter
        self.get_latest_labelled_counter = fleet.get_latest_labelled_counter

    def _read_with_ceph(self, data_name: str) -> Any:
        if not self._parts.ceph_documents.has_ceph:
            self._bridge.to_loop(
                self._operations.wait_ceph_document(data_name), timeout_s=COMMAND_S
            )
        return self._parts.maps.read(data_name)

    def get_term(self) -> int:
        """See ``mgr.module_api.context``."""
        return self._parts.fenced.term

    def get_foreign_option(self, entity: str, name: str) -> OptionValue:
        """See ``mgr.module_api.context``."""
        return self._manager.config.manager_option_of(entity, name)

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        """See ``mgr.module_api.context``."""
        self._write(self._operations.set_option(module, name, value, localized))

    def set_store(self, key: str, value: str | None) -> None:
        """See ``mgr.module_api.context``."""
        self._write(self._operations.set_store(key, value))

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """See ``mgr.module_api.context``."""
        return self._write(self._operations.commit_store(changes, expected))

    def watch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.watch_store(prefix))

    def unwatch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.unwatch_store(prefix))

    def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """See ``mgr.module_api.context``."""
        return self._write(self._operations.set_map(name, text, expected_version))

    def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """See ``mgr.module_api.context``."""
        return self._write(self._operations.remove_map(name, expected_version))

    def set_ceph_documents(self, texts: Mapping[str, str]) -> None:
        """See ``mgr.module_api.context``."""
        documents = decoded_documents(texts)
        self._run_on_loop(self._operations.put_ceph_documents(documents))

    def register_ceph_client(self, instance: str, address: str) -> None:
        """See ``mgr.module_api.context``."""
        self._write(self._operations.register_ceph_client(instance, address))

    def load_database(self) -> bytes:
        """See ``mgr.module_api.context``."""
        return self._bridge.to_loop(self._operations.load_database(), timeout_s=DATABASE_S)

    def store_database(self, image: bytes) -> None:
        """See ``mgr.module_api.context``."""
        # Hashing and compressing is done here, on the module's thread, not on the loop.
        database = self._operations.database
        change = database.change(image)
        self._bridge.to_loop(database.write(change), timeout_s=DATABASE_S)

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        own = self._prefix
        found = self._manager.mirror.list(own + prefix)
        return {key.removeprefix(own): record.value for key, record in found.items()}

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.set_health_checks(checks))

    def set_uri(self, uri: str) -> None:
        """See ``mgr.module_api.context``."""
        self._write(self._operations.set_uri(uri))

    def update_progress_event(
        self, evid: str, message: str, progress: float, *, shown: bool
    ) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.update_progress_event(evid, message, progress, shown))

    def complete_progress_event(self, evid: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.complete_progress_event(evid))

    def clear_all_progress_events(self) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.clear_all_progress_events())

    def cluster_log(self, channel: str, priority: int, message: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.cluster_log(channel, priority, message))

    def have_store_connection(self) -> bool:
        """See ``mgr.module_api.context``."""
        return self._manager.mirror.current

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """See ``mgr.module_api.context``."""
        to_loop = partial(self._bridge.to_loop, timeout_s=REMOTE_S)
        return self._parts.remote.call(module, method, args, kwargs, to_loop=to_loop)

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        return self._run(self._operations.mon_command(arguments, inbuf))

    def _run(self, command: Coroutine[Any, Any, tuple[int, str, str]]) -> tuple[int, str, str]:
        try:
            return self._bridge.to_loop(command, timeout_s=COMMAND_S)
        except MgrError as error:
            return -error.errno, "", str(error)

    def send_command(
        self,
        arguments: Mapping[str, Any],
        inbuf: str | None,
        tag: str,
        *,
        absent: str,
        complete: Callable[[int, str, str], None],
    ) -> None:
        """See ``mgr.module_api.context``."""
        deliver = deliver_in_thread(self._module, complete)
        command = self._operations.send_command(arguments, inbuf, tag, absent, deliver)
        self._run_on_loop(command)

    def identification_required(self) -> bool:
        """See ``mgr.module_api.context``."""
        return self._parts.callers.required

    def identify(
        self, token: str, certificate: bytes, address: str, *, encrypted: bool
    ) -> dict[str, Any] | None:
        """See ``mgr.module_api.context``."""
        return self._parts.callers.identify(token, certificate, address, encrypted=encrypted)

    def permitted(self, caller: Mapping[str, Any], prefixes: Collection[str]) -> set[str]:
        """See ``mgr.module_api.context``."""
        return self._parts.callers.permitted(caller, prefixes)

    def run_as(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str
    ) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        return self._run(self._operations.run_as(caller, words, inbuf))

    def notify_all(self, kind: str, notify_id: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._operations.notify_all(kind, notify_id))

    def set_device_wear_level(self, device: str, wear_level: float) -> None:
        """See ``mgr.module_api.context``."""
        self._write(self._operations.set_device_wear_level(device, wear_level))

    def _write(self, work: Coroutine[Any, Any, T]) -> T:
        return self._bridge.to_loop(work, timeout_s=WRITE_S)

    def _run_on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return self._bridge.to_loop(work, timeout_s=LOOP_CALL_S)
