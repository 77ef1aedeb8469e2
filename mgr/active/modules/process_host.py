"""Serves one module of the active that runs in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from mgr.active.modules.ceph_commands import call_module
from mgr.active.modules.confined_requests import ConfinedRequests
from mgr.active.modules.context import DATABASE_S, LOOP_CALL_S, REMOTE_S, WRITE_S
from mgr.active.modules.operations import COMMAND_S, ModuleOperations
from mgr.active.term_parts import TermParts
from mgr.cluster.counter_memory import CounterMemory
from mgr.host.bridge import run_in_thread, thread_name
from mgr.host.finder import DiscoveredModule
from mgr.module_process.child_counters import counter_fields, packed_rows
from mgr.module_process.host_side import READ_S, HostSide, Operation
from mgr.module_process.messages import dumps
from mgr.module_process.process import ModuleProcess, OnAnswer
from mgr.module_process.remote import RemoteAnswer, RemoteInstance
from mgr.store.mirror import KeyChange

SHARED_AT_ONCE: Final = 100
"""Rings that are moved into shared memory before other work of the loop has its turn."""
WRITES: Final = (
    *("set_option", "set_store", "commit_store", "set_map", "remove_map", "set_uri"),
    "register_ceph_client",
)
CALLS: Final = (
    *("watch_store", "unwatch_store", "set_health_checks", "update_progress_event"),
    *("complete_progress_event", "clear_all_progress_events", "cluster_log", "notify_all"),
)
FLEET_READS: Final = (
    *("get_servers", "get_metadata", "get_daemon_status", "get_daemon_health_metrics"),
    *("get_counter", "get_latest_counter"),
)


class ActiveHostSide(HostSide):
    """Serves an active instance: everything of ``mgr.module_api.context``."""

    def __init__(
        self,
        parts: TermParts,
        found: DiscoveredModule,
        http_address: str,
        counters: CounterMemory,
    ) -> None:
        """Serve the module ``found`` in the term of ``parts``, which shares ``counters``."""
        super().__init__(parts.manager, found, http_address)
        self._parts = parts
        self._operations = ModuleOperations(parts, found.name)
        self._confined = ConfinedRequests(found.name, found.manifest)
        # What the process keeps a copy of: it is notified of each change.
        self._counters = counters
        self._documents: set[str] = set()
        self._maps: set[str] = set()

    def operations(self) -> Mapping[str, tuple[Operation, float]]:
        """See ``HostSide``."""
        made, fleet, rows = self._operations, self._parts.fleet_reader, self._parts.counter_rows
        return {
            **super().operations(),
            **{name: (getattr(made, name), WRITE_S) for name in WRITES},
            **{name: (getattr(made, name), LOOP_CALL_S) for name in CALLS},
            "set_device_wear_level": (made.set_device_wear_level, WRITE_S),
            "set_ceph_documents": (made.set_ceph_documents, COMMAND_S),
            "load_database": (made.load_database, DATABASE_S),
            "store_database": (made.store_database, DATABASE_S),
            "mon_command": (made.mon_command, COMMAND_S),
            "run_as": (made.run_as, COMMAND_S),
            "identification_required": (self._identification_required, READ_S),
            "identify": (self._identify, READ_S),
            "permitted": (_reading(self._parts.callers.permitted), READ_S),
            "send_command": (self._send_command, LOOP_CALL_S),
            "remote": (self._remote, REMOTE_S),
            "have_store_connection": (self._have_store_connection, READ_S),
            "get_map_versions": (self._get_map_versions, READ_S),
            "document": (self._document, COMMAND_S),
            "map": (self._map, READ_S),
            **{name: (_reading(getattr(fleet, name)), READ_S) for name in FLEET_READS},
            "get_latest_labelled_counter": (_reading(fleet.get_latest_labelled_counter), READ_S),
            "counter_places": (self._counter_places, READ_S),
            "counter_schema": (self._counter_schema, READ_S),
            "get_perf_schema": (self._get_perf_schema, REMOTE_S),
            "get_daemons": (self._in_thread(rows.get_daemons), REMOTE_S),
            "get_counter_rows": (
                self._in_thread(lambda *args: packed_rows(rows.get_counter_rows(*args))),
                REMOTE_S,
            ),
        }

    def connect(self, process: ModuleProcess) -> Mapping[str, Any]:
        """See ``mgr.module_process.execution.ProcessHost``."""
        keys = self._manager.keys
        self._unsubscribe += [
            self._parts.maps.on_builtin_changed(self._on_documents_changed),
            self._manager.mirror.subscribe(keys.maps, self._on_maps_changed),
        ]
        process.forward = self._forward
        return super().connect(process)

    def _forward(self, name: str, args: tuple[Any, ...], on_answer: OnAnswer) -> bool:
        """Pass a call of a module on to another module's process.

        Its caller has a limit of its own for the answer.
        """
        if name != "remote" or self._closed or self._confined.enforces:
            return False
        module, method, payload = args
        instance = self._parts.modules.instance_of(module)
        if not isinstance(instance, RemoteInstance):
            return False
        instance.forward(method, payload, on_answer)
        return True

    async def _run(self, operation: Operation, name: str, args: tuple[Any, ...]) -> Any:
        if (refusal := self._confined.check(name, args)) is not None:
            return refusal
        return self._confined.filtered(name, args, await operation(*args))

    def _may_read(self, key: str) -> bool:
        manifest = self._found.manifest
        return manifest is None or not manifest.enforce or manifest.allows_key(key)

    def seed(self) -> dict[str, Any]:
        """See ``HostSide``."""
        # A manifest that is enforced lists daemons: that module asks for each value.
        path = "" if self._confined.enforces else self._counters.path
        return {**super().seed(), "term": int(self._parts.fenced.term), "counters": path}

    # -- documents ------------------------------------------------------------------------------

    async def _document(self, name: str) -> tuple[Any, ...]:
        """Return a document, and whether the process may keep it until notified of a change."""
        if self._manager.settings.ceph_conf:
            await self._operations.wait_ceph_document(name)
        found = self._parts.maps.builtin_version(name)
        if found is None:
            return await self._map(name)
        document, kept = found
        if kept:
            self._documents.add(name)
        return ("document" if kept else "once"), dumps(document)

    async def _map(self, name: str) -> tuple[Any, ...]:
        version, document = self._parts.maps.read_published(name)
        self._maps.add(name)
        return "map", version, None if document is None else dumps(document)

    def _on_documents_changed(self, names: Sequence[str]) -> None:
        stale = self._documents.intersection(names)
        if stale and self.process is not None:
            self._documents -= stale
            self.process.note("stale", sorted(stale), [])

    def _on_maps_changed(self, changes: Sequence[KeyChange]) -> None:
        prefix = self._manager.keys.maps
        stale = self._maps.intersection(each.key.removeprefix(prefix) for each in changes)
        if stale and self.process is not None:
            self._maps -= stale
            self.process.note("stale", [], sorted(stale))

    # -- counters -------------------------------------------------------------------------------

    async def _counter_places(self, name: str) -> list[tuple[Any, ...]]:
        """Return where the counters of a daemon are in memory; without a name those of all."""
        daemons = self._parts.fleet.daemons
        wanted = [name] if name else list(daemons)
        found = []
        for count, each in enumerate(wanted, 1):
            daemon = daemons.get(each)
            if daemon is not None and (place := self._counters.share(daemon.ring)) is not None:
                ring = daemon.ring
                found.append((each, tuple(place), ring.schema.digest, ring.short))
            if not count % SHARED_AT_ONCE:
                await asyncio.sleep(0)
        return found

    async def _counter_schema(self, name: str) -> tuple[bytes, list[tuple[Any, ...]]] | None:
        """Return the counters of a daemon, and what identifies this list of them."""
        daemon = self._parts.fleet.daemons.get(name)
        if daemon is None:
            return None
        schema = daemon.ring.schema
        return schema.digest, [counter_fields(slot.counter) for slot in schema.slots]

    # -- further requests -----------------------------------------------------------------------

    async def _get_map_versions(self) -> dict[str, int]:
        return self._parts.maps.versions()

    async def _identification_required(self) -> bool:
        return self._parts.callers.required

    async def _identify(
        self,
        token: str,
        certificate: bytes,
        address: str,
        encrypted: bool,  # noqa: FBT001 - as it is sent
    ) -> dict[str, Any] | None:
        return self._parts.callers.identify(token, certificate, address, encrypted=encrypted)

    async def _have_store_connection(self) -> bool:
        return self._manager.mirror.current

    async def _get_perf_schema(self, kind: str, name: str, labelled: bool) -> Any:  # noqa: FBT001 - as it is sent
        read = partial(self._parts.fleet_reader.get_perf_schema, kind, name, labelled=labelled)
        return await self._in_thread(read)()

    async def _send_command(
        self,
        arguments: Mapping[str, Any],
        inbuf: str | None,
        tag: str,
        absent: str,
        number: int,
    ) -> None:
        def deliver(retval: int, outb: str, outs: str) -> asyncio.Future[None]:
            if self.process is None:
                raise AssertionError("it has sent the command")
            return self.process.call("complete", number, retval, outb, outs)[1]

        await self._operations.send_command(arguments, inbuf, tag, absent, deliver)

    async def _remote(self, module: str, method: str, payload: bytes) -> RemoteAnswer:
        return await call_module(self._parts.modules, module, method, payload)

    def _in_thread(self, read: Callable[..., Any]) -> Operation:
        """Return what runs ``read`` on another thread than the loop's: it may take long."""

        async def answer(*args: Any) -> Any:
            name = thread_name(self._found.name, "reads")
            return await run_in_thread(name, partial(read, *args))

        return answer


def _reading(read: Callable[..., Any]) -> Operation:
    async def answer(*args: Any) -> Any:
        return read(*args)

    return answer
