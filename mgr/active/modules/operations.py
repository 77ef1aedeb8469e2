"""What a module asks of the active manager: coroutines that run on the loop.

``context.py`` runs them for a module in threads of this process, ``process_host.py`` for one in a
process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from mgr.active.documents.documents import is_of_ceph
from mgr.active.modules.background_commands import BackgroundCommand, Deliver, Execute
from mgr.active.modules.ceph_commands import MODULE as CEPH
from mgr.active.modules.compare_and_set import compare_and_set
from mgr.active.modules.database import Database
from mgr.active.term_parts import TermParts
from mgr.cluster.frozen import freeze
from mgr.cluster.log import Priority
from mgr.cluster.progress import ProgressEvent
from mgr.cluster.stored_device import DEVICE_KEY_PREFIX, WEAR, stored_device
from mgr.command.dispatch import Request
from mgr.config.kv import checked_key, checked_value
from mgr.config.manager_options import ENTRY_LIMIT
from mgr.errors import ConflictError, InvalidArgumentError, MgrError, NotPermittedError
from mgr.health.check import Check
from mgr.host.bridge import run_in_thread, thread_name
from mgr.store.api import Delete, Put, as_seen
from mgr.store.computed import ComputedWrite, commit_computed

COMMAND_S: Final = 30.0
"""Limit for a command that a module has the manager run."""
CLIENTS_MAX: Final = 100
"""Addresses of one module in the Ceph cluster that are kept until they are refused there."""
CEPH_NOTIFICATIONS: Final = ("osd_map", "fs_map", "mon_map", "pg_summary")
"""The documents of a Ceph cluster of whose changes modules are notified, as in ceph-mgr."""


class ModuleOperations:
    """The operations of one module. See ``mgr.module_api.context`` for what each does."""

    def __init__(self, parts: TermParts, module: str) -> None:
        self._parts = parts
        self._module = module
        self._manager = parts.manager
        self._keys = parts.manager.keys
        self._fenced = parts.fenced
        self._service = parts.manager.keys.service(module)
        self.database: Final = Database(parts.fenced, parts.manager.store, self._keys, module)

    async def set_option(
        self,
        module: str,
        name: str,
        value: str | None,
        localized: bool,  # noqa: FBT001 - as it is sent
    ) -> None:
        """See ``mgr.module_api.context``."""
        middle = f"{self._manager.id}/" if localized else ""
        full = f"mgr/{module}/{middle}{name}"
        if value is None:
            removal = Delete(self._keys.option("mgr", full))
            await self._parts.history.commit([removal], by=f"module {self._module}")
            return
        try:
            put = self._manager.config.prepare("mgr", full, value)
        except InvalidArgumentError as error:
            raise ValueError(str(error)) from None
        await self._parts.history.commit([put], by=f"module {self._module}")

    async def set_store(self, key: str, value: str | None) -> None:
        """See ``mgr.module_api.context``."""
        await self._fenced.commit([self._change(key, value)])

    async def commit_store(
        self, changes: Mapping[str, str | None], expected: Mapping[str, str | None]
    ) -> bool:
        """See ``mgr.module_api.context``."""
        return await compare_and_set(
            [self._change(key, value) for key, value in changes.items()],
            {self._entry_key(key): value for key, value in expected.items()},
            fenced=self._fenced,
            mirror=self._manager.mirror,
        )

    async def watch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._parts.modules.watch(self._module, prefix, on=True)

    async def unwatch_store(self, prefix: str) -> None:
        """See ``mgr.module_api.context``."""
        self._parts.modules.watch(self._module, prefix, on=False)

    async def set_map(self, name: str, text: str, expected_version: int | None) -> int | None:
        """See ``mgr.module_api.context``."""
        try:
            return await self._parts.maps.set(name, text, expected_version)
        except ConflictError:
            return None
        except (InvalidArgumentError, NotPermittedError) as error:
            raise ValueError(str(error)) from None

    async def remove_map(self, name: str, expected_version: int | None) -> bool | None:
        """See ``mgr.module_api.context``."""
        try:
            return await self._parts.maps.remove(name, expected_version)
        except ConflictError:
            return None
        except (InvalidArgumentError, NotPermittedError) as error:
            raise ValueError(str(error)) from None

    async def set_ceph_documents(self, texts: Mapping[str, str]) -> None:
        """See ``mgr.module_api.context``."""
        # Decoding a large cluster's maps takes longer than the loop may stand still.
        name = thread_name(self._module, "documents")
        await self.put_ceph_documents(await run_in_thread(name, partial(decoded_documents, texts)))

    async def put_ceph_documents(self, documents: Mapping[str, Any]) -> None:
        """Publish documents that ``decoded_documents`` has made, and notify modules of them."""
        self._parts.ceph_documents.put_ceph(documents)
        for name in CEPH_NOTIFICATIONS:
            if name in documents:
                self._parts.modules.notify(name, "")

    async def wait_ceph_document(self, name: str) -> None:
        """Wait for ``name`` if a Ceph cluster has it and the term has just begun.

        A module that finds no pools or file systems when it starts does nothing for them.
        """
        documents = self._parts.ceph_documents
        if not documents.has_ceph and self._module != CEPH and is_of_ceph(name):
            await self._parts.ceph_commands.wait_documents(documents)

    async def register_ceph_client(self, instance: str, address: str) -> None:
        """See ``mgr.module_api.context``."""
        key = self._keys.module_entry(CEPH, f"clients/{self._module}")
        entry = {"term": self._fenced.term, "instance": instance, "address": address}

        def compute() -> ComputedWrite:
            record = self._manager.mirror.get(key)
            known = [] if record is None else json.loads(record.value)
            text = json.dumps([*known[1 - CLIENTS_MAX :], entry])
            return ComputedWrite([Put(key, text)], [as_seen(key, record)])

        await commit_computed(compute, self._fenced)

    async def load_database(self) -> bytes:
        """See ``mgr.module_api.context``."""
        return await self.database.load()

    async def store_database(self, image: bytes) -> None:
        """See ``mgr.module_api.context``."""
        # Hashing and compressing is done on another thread, not on the loop.
        name = thread_name(self._module, "database")
        change = await run_in_thread(name, partial(self.database.change, image))
        await self.database.write(change)

    async def set_health_checks(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """See ``mgr.module_api.context``."""
        new_checks = [Check.from_module(code, fields) for code, fields in checks.items()]
        self._parts.board.set(self._module, new_checks)

    async def set_uri(self, uri: str) -> None:
        """See ``mgr.module_api.context``."""
        if uri:
            await self._fenced.put(self._service, uri, self._parts.lease)
        else:
            await self._fenced.delete(self._service)

    async def update_progress_event(
        self,
        evid: str,
        message: str,
        progress: float,
        shown: bool,  # noqa: FBT001 - as it is sent
    ) -> None:
        """See ``mgr.module_api.context``."""
        event = ProgressEvent(message, progress, shown, self._module)
        self._parts.progress.update(evid, event)

    async def complete_progress_event(self, evid: str) -> None:
        """See ``mgr.module_api.context``."""
        self._parts.progress.complete(evid)

    async def clear_all_progress_events(self) -> None:
        """See ``mgr.module_api.context``."""
        self._parts.progress.clear()

    async def cluster_log(self, channel: str, priority: int, message: str) -> None:
        """See ``mgr.module_api.context``."""
        grade = Priority(min(max(priority, Priority.DEBUG), Priority.ERROR))
        name = f"mgr.{self._manager.id}"
        self._parts.log.add(message, name=name, priority=grade, channel=channel)

    async def mon_command(
        self, arguments: Mapping[str, Any], inbuf: str | None
    ) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        return await self._run(self._parts.ceph_commands.execute, self._request(arguments, inbuf))

    async def run_as(
        self, caller: Mapping[str, Any], words: Sequence[str], inbuf: str
    ) -> tuple[int, str, str]:
        """See ``mgr.module_api.context``."""
        deadline_s = self._manager.clock.now() + COMMAND_S
        request = self._parts.callers.request(caller, words, inbuf, deadline_s)
        return await self._run(self._parts.execute, request)

    async def _run(self, execute: Execute, request: Request) -> tuple[int, str, str]:
        try:
            answer = await execute(request)
        except MgrError as error:
            return -error.errno, "", str(error)
        return answer.retval, answer.stdout, answer.stderr

    async def send_command(
        self,
        arguments: Mapping[str, Any],
        inbuf: str | None,
        tag: str,
        absent: str,
        deliver: Deliver,
    ) -> None:
        """See ``mgr.module_api.context``; ``deliver`` passes the answer on."""
        request = self._request(arguments, inbuf)
        # A daemon that does not report here may be one of Ceph's.
        elsewhere = absent and self._parts.ceph_commands.target_of(request) is None
        command = BackgroundCommand(self._module, absent if elsewhere else request, tag, deliver)
        self._parts.background_commands.start(command)

    async def notify_all(self, kind: str, notify_id: str) -> None:
        """See ``mgr.module_api.context``."""
        self._parts.modules.notify(kind, notify_id)

    async def set_device_wear_level(self, device: str, wear_level: float) -> None:
        """See ``mgr.module_api.context``."""
        key = self._keys.entry(checked_key(DEVICE_KEY_PREFIX + device))

        def compute() -> ComputedWrite:
            record = self._manager.mirror.get(key)
            known = {**stored_device(record), WEAR: wear_level}
            if wear_level < 0:
                del known[WEAR]
            return ComputedWrite([Put(key, json.dumps(known))], [as_seen(key, record)])

        await commit_computed(compute, self._fenced)

    def _request(self, arguments: Mapping[str, Any], inbuf: str | None) -> Request:
        rest = dict(arguments)
        return Request(
            words=str(rest.pop("prefix", "")).split(),
            arguments=rest,
            input=(inbuf or "").encode(),
            deadline_s=self._manager.clock.now() + COMMAND_S,
        )

    def _entry_key(self, key: str) -> str:
        return self._keys.module_entry(self._module, checked_key(key))

    def _change(self, key: str, value: str | None) -> Put | Delete:
        if value is None:
            return Delete(self._entry_key(key))
        limit = int(self._manager.config.manager_option(ENTRY_LIMIT) or 0)
        return Put(self._entry_key(key), checked_value(value, bytes_max=limit))


def decoded_documents(texts: Mapping[str, str]) -> dict[str, Any]:
    """Decode and freeze the documents of ``set_ceph_documents``. On any thread.

    Raises:
        ValueError: A name is not one of Ceph's documents, or a text is not JSON.

    """
    if foreign := [name for name in texts if not is_of_ceph(name)]:
        raise ValueError(f"no documents of a Ceph cluster: {', '.join(sorted(foreign))}")
    try:
        return {name: freeze(msgspec.json.decode(text)) for name, text in texts.items()}
    except msgspec.DecodeError as error:
        raise ValueError(f"a document of a Ceph cluster is not JSON: {error}") from None
