"""What a worker does for one instance in a process of its own: requests, and copies of its data.

The copies are sent as they are now, and then every change, in the turn of the loop in which the
mirror shows it. So a change is always sent before a notification of it, and before the answer to
the request that made it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from mgr.config.schema import MODULE_PREFIX
from mgr.errors import OutcomeUnknownError, TermLostError
from mgr.host.context import mgr_ips
from mgr.host.finder import DiscoveredModule
from mgr.host.worker_context import WorkerContext, readonly_options
from mgr.module_process.declarations import plain_fields
from mgr.module_process.messages import dumps
from mgr.module_process.process import ModuleProcess
from mgr.store.mirror import KeyChange

READ_S: Final = 5.0
"""Limit of a request that only reads memory."""

Operation = Callable[..., Awaitable[Any]]


class HostSide:
    """Serves a standby instance: options, entries and the active's address."""

    def __init__(self, manager: WorkerContext, found: DiscoveredModule, http_address: str) -> None:
        """Serve the module ``found`` of the manager whose HTTP port has ``http_address``."""
        self._manager = manager
        self._found = found
        self._http_address = http_address
        self._prefix = manager.keys.module_entry(found.name, "")
        self._own_options = f"{MODULE_PREFIX}{found.name}/"
        self._unsubscribe: list[Callable[[], None]] = []
        self._closed = False
        self.process: ModuleProcess | None = None

    def operations(self) -> Mapping[str, tuple[Operation, float]]:
        """Return what answers each request, and its limit in seconds."""
        return {
            "get_option": (self._get_option, READ_S),
            "get_active_uri": (self._get_active_uri, READ_S),
        }

    def connect(self, process: ModuleProcess) -> Mapping[str, Any]:
        """See ``mgr.module_process.execution.ProcessHost``."""
        manager = self._manager
        self.process = process
        operations = self.operations()

        async def answer(name: str, args: tuple[Any, ...]) -> Any:
            return await self._answer(operations, name, args)

        process.answer = answer
        subscribe = manager.mirror.subscribe
        self._unsubscribe += [
            subscribe(manager.keys.config, self._send_config),
            subscribe(self._prefix, self._send_entries),
        ]
        return self.seed()

    def seed(self) -> dict[str, Any]:
        """Return the present state, as the instance's context begins with it."""
        manager = self._manager
        records = manager.mirror.list
        return {
            "module": self._found.name,
            "manager_id": manager.id,
            "cluster": manager.settings.cluster,
            "mgr_ips": dumps(mgr_ips(self._http_address)),
            "readonly": readonly_options(manager.settings, socket.gethostname()),
            "options": [plain_fields(each) for each in self._found.options],
            "config": [
                (key, one.value)
                for key, one in records(manager.keys.config).items()
                if self._shown_option(key)
            ],
            "entries": {
                name: one.value
                for key, one in records(self._prefix).items()
                if self._may_read(name := key.removeprefix(self._prefix))
            },
        }

    def close(self) -> None:
        """See ``mgr.module_process.execution.ProcessHost``."""
        self._closed = True
        unsubscribe, self._unsubscribe = self._unsubscribe, []
        for end in unsubscribe:
            end()

    async def _answer(
        self, operations: Mapping[str, tuple[Operation, float]], name: str, args: tuple[Any, ...]
    ) -> Any:
        if self._closed:
            raise TermLostError(f"module {self._found.name!r} was stopped: the call did not run")
        operation, limit_s = operations[name]
        try:
            async with asyncio.timeout(limit_s) as limit:
                return await self._run(operation, name, args)
        except TimeoutError:
            if not limit.expired():
                raise
            raise OutcomeUnknownError(f"no answer within {limit_s} s") from None

    async def _run(self, operation: Operation, _name: str, args: tuple[Any, ...]) -> Any:
        """Run one request."""
        return await operation(*args)

    def _may_read(self, _key: str) -> bool:
        """Return whether the module may read this key of its own."""
        return True

    def _shown_option(self, key: str) -> bool:
        """Return whether an option is the module's own or the manager's: others are asked for."""
        name = key.removeprefix(self._manager.keys.config).partition("/")[2]
        return not name.startswith(MODULE_PREFIX) or name.startswith(self._own_options)

    def _send_config(self, changes: Sequence[KeyChange]) -> None:
        shown = [each for each in changes if self._shown_option(each.key)]
        if shown and self.process is not None:
            self.process.note("config", [(each.key, _value(each)) for each in shown])

    def _send_entries(self, changes: Sequence[KeyChange]) -> None:
        found = [(each.key[len(self._prefix) :], _value(each)) for each in changes]
        shown = [each for each in found if self._may_read(each[0])]
        if shown and self.process is not None:
            self.process.note("entries", shown)

    async def _get_option(self, module: str, name: str, localized: bool) -> Any:  # noqa: FBT001 - as it is sent
        return self._manager.config.typed(module, name, localized=localized)

    async def _get_active_uri(self) -> str:
        return self._manager.view.services().get(self._found.name, "")


def _value(change: KeyChange) -> str | None:
    return None if change.record is None else change.record.value
