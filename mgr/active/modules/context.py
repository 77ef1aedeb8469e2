"""Implements the module context on the active: what a module calls, from its own threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from mgr.active.modules.background_commands import BackgroundCommand
from mgr.active.modules.compare_and_set import compare_and_set
from mgr.active.modules.database import Database
from mgr.active.term_parts import TermParts
from mgr.cluster.log import Priority
from mgr.cluster.progress import ProgressEvent
from mgr.cluster.stored_device import DEVICE_KEY_PREFIX, WEAR, stored_device
from mgr.command.dispatch import Request
from mgr.config.kv import checked_key, checked_value
from mgr.config.manager_options import ENTRY_LIMIT
from mgr.errors import ConflictError, InvalidArgumentError, MgrError, NotPermittedError
from mgr.health.check import Check
from mgr.host.bridge import Bridge
from mgr.host.context import ReadOnlyContext
from mgr.module_api.context import OptionValue
from mgr.store.api import Delete, Put, as_seen
from mgr.store.computed import ComputedWrite, commit_computed

WRITE_S: Final = 6.0
"""How long a module waits for a write. Longer than the write's own time-out, so that the module
gets the store's error and not ours."""
LOOP_CALL_S: Final = 5.0
"""Limit for calls on the loop that only touch memory."""
DATABASE_S: Final = 20.0
"""Limit for reading or writing a whole database, which takes several writes if it is large."""
COMMAND_S: Final = 30.0
"""Limit for a command that a module has the manager run."""

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
        self._keys = parts.manager.keys
        self._fenced = parts.fenced
        self._database = Database(parts.fenced, parts.manager.store, self._keys, module)
        self.get = parts.maps.read
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

    def get_term(self) -> int:
        """See ``mgr.module_api.context``."""
        return self._fenced.term

    def get_foreign_option(self, entity: str, name: str) -> OptionValue:
        """See ``mgr.module_api.context``."""
        return self._manager.config.manager_option_of(entity, name)

    def set_option(
        self, module: str, name: str, value: str | None, *, localized: bool = False
    ) -> None:
        """See ``mgr.module_api.context``."""
        middle = f"{self.manager_id}/" if localized else ""
        full = f"mgr/{module}/{middle}{name}"
        if value is None:
            removal = Delete(self._keys.option("mgr", full))
            self._write(self._parts.history.commit([removal], by=f"module {self._module}"))
            return
        try:
            put = self._parts.manager.config.prepare("mgr", full, value)
        except InvalidArgumentError as error:
            raise ValueError(str(error)) from None
        self._write(self._parts.history.commit([put], by=f"module {self._module}"))

    def set_store(self, key: str, value: str | None) -> None:
        """See ``mgr.module_api.context``."""
        self._write(self._fenced.commit([self._change(key, value)]))

    def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """See ``mgr.module_api.context``."""
        manager = self._parts.manager
        committed = compare_and_set(
            [self._change(key, value) for key, value in changes.items()],
            {self._entry_key(key): value for key, value in expected.items()},
            fenced=self._fenced,
            mirror=manager.mirror,
        )
        return self._bridge.to_loop(committed, timeout_s=WRITE_S)

    def watch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._watch(prefix, on=True))

    def unwatch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(self._watch(prefix, on=False))

    def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """See ``mgr.module_api.context``."""
        return self._change_map(self._parts.maps.set(name, text, expected_version))

    def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """See ``mgr.module_api.context``."""
        return self._change_map(self._parts.maps.remove(name, expected_version))

    def load_database(self) -> bytes:
        """See ``mgr.module_api.context``."""
        return self._bridge.to_loop(self._database.load(), timeout_s=DATABASE_S)

    def store_database(self, image: bytes) -> None:
        """See ``mgr.module_api.context``."""
        # Hashing and compressing is done here, on the module's thread, not on the loop.
        change = self._database.change(image)
        self._bridge.to_loop(self._database.write(change), timeout_s=DATABASE_S)

    def get_store_prefix(self, prefix: str) -> dict[str, str]:
        """See ``mgr.module_api.context``."""
        own = self._prefix
        found = self._manager.mirror.list(own + prefix)
        return {key.removeprefix(own): record.value for key, record in found.items()}

    def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """See ``mgr.module_api.context``."""
        new_checks = [Check.from_module(code, fields) for code, fields in checks.items()]

        async def replace() -> None:
            self._parts.board.set(self._module, new_checks)

        self._run_on_loop(replace())

    def set_uri(self, uri: str) -> None:
        """See ``mgr.module_api.context``."""
        if uri:
            self._write(self._fenced.put(self._service, uri, self._parts.lease))
        else:
            self._write(self._fenced.delete(self._service))

    def update_progress_event(
        self, evid: str, message: str, progress: float, *, shown: bool
    ) -> None:
        """See ``mgr.module_api.context``."""
        event = ProgressEvent(message, progress, shown, self._module)
        self._run_on_loop(_as_coroutine(partial(self._parts.progress.update, evid, event)))

    def complete_progress_event(self, evid: str) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(_as_coroutine(partial(self._parts.progress.complete, evid)))

    def clear_all_progress_events(self) -> None:
        """See ``mgr.module_api.context``."""
        self._run_on_loop(_as_coroutine(self._parts.progress.clear))

    def cluster_log(self, channel: str, priority: int, message: str) -> None:
        """See ``mgr.module_api.context``."""
        grade = Priority(min(max(priority, Priority.DEBUG), Priority.ERROR))

        async def write() -> None:
            name = f"mgr.{self.manager_id}"
            self._parts.log.add(message, name=name, priority=grade, channel=channel)

        self._run_on_loop(write())

    def have_store_connection(self) -> bool:
        """See ``mgr.module_api.context``."""
        return self._manager.mirror.current

    def remote(
        self, module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """See ``mgr.module_api.context``."""
        return self._parts.remote.call(module, method, args, kwargs)

    def mon_command(self, arguments: Mapping[str, Any], inbuf: str | None) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        return self._run(self._request(arguments, inbuf))

    def _run(self, request: Request) -> tuple[int, str, str]:
        try:
            answer = self._bridge.to_loop(self._parts.execute(request), timeout_s=COMMAND_S)
        except MgrError as error:
            return -error.errno, "", str(error)
        return answer.retval, answer.stdout, answer.stderr

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
        request = absent or self._request(arguments, inbuf)
        command = BackgroundCommand(self._module, request, tag, complete)

        async def start() -> None:
            self._parts.background_commands.start(command)

        self._run_on_loop(start())

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
        deadline_s = self._manager.clock.now() + COMMAND_S
        return self._run(self._parts.callers.request(caller, words, inbuf, deadline_s))

    def notify_all(self, kind: str, notify_id: str) -> None:
        """See ``mgr.module_api.context``."""

        async def notify() -> None:
            self._parts.modules.notify(kind, notify_id)

        self._run_on_loop(notify())

    def set_device_wear_level(self, device: str, wear_level: float) -> None:
        """See ``mgr.module_api.context``."""
        key = self._keys.entry(checked_key(DEVICE_KEY_PREFIX + device))

        def compute() -> ComputedWrite:
            record = self._manager.mirror.get(key)
            known = {**stored_device(record), WEAR: wear_level}
            if wear_level < 0:
                del known[WEAR]
            return ComputedWrite([Put(key, json.dumps(known))], [as_seen(key, record)])

        self._write(commit_computed(compute, self._fenced))

    def _request(self, arguments: Mapping[str, Any], inbuf: str | None) -> Request:
        rest = dict(arguments)
        return Request(
            words=str(rest.pop("prefix", "")).split(),
            arguments=rest,
            input=(inbuf or "").encode(),
            deadline_s=self._manager.clock.now() + COMMAND_S,
        )

    async def _watch(self, prefix: str, *, on: bool) -> None:
        self._parts.modules.watch(self._module, prefix, on=on)

    def _entry_key(self, key: str) -> str:
        return self._keys.module_entry(self._module, checked_key(key))

    def _change(self, key: str, value: str | None) -> Put | Delete:
        if value is None:
            return Delete(self._entry_key(key))
        limit = int(self._parts.manager.config.manager_option(ENTRY_LIMIT) or 0)
        return Put(self._entry_key(key), checked_value(value, bytes_max=limit))

    def _change_map(self, work: Coroutine[Any, Any, T]) -> T | None:
        try:
            return self._bridge.to_loop(work, timeout_s=WRITE_S)
        except ConflictError:
            return None
        except (InvalidArgumentError, NotPermittedError) as error:
            raise ValueError(str(error)) from None

    def _write(self, work: Coroutine[Any, Any, object]) -> None:
        self._bridge.to_loop(work, timeout_s=WRITE_S)

    def _run_on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return self._bridge.to_loop(work, timeout_s=LOOP_CALL_S)


async def _as_coroutine(call: Callable[[], None]) -> None:
    call()
