"""Stores a report of a dead worker, and the death against the module that caused it.

The election comes first: the transaction that releases the leader key also stores the death of a
module (``operations``), so that the successor knows of it before it starts that module. All
else is written afterwards, in the background, by ``run``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mgr.clock import utc_now
from mgr.config.installed_modules import module_folders
from mgr.config.worker_deaths import (
    CRASHES_MAX,
    DEATHS_MAX,
    DEATHS_WITHIN_S,
    REPORT_BYTES_MAX,
    ModuleDeath,
    Quarantine,
    deaths_text,
    decode_deaths,
    encode,
    quarantine_operation,
)
from mgr.errors import MgrError
from mgr.guard.attribution import OUT_OF_MEMORY, WATCHDOG, ModuleFolders, Suspect, accuse
from mgr.guard.state import GuardContext
from mgr.guard.worker_supervisor import Evidence
from mgr.store.api import ABSENT, Created, Delete, Modified, Operation, Put
from mgr.worker_trace import own_exit

WAITING_MAX: Final = CRASHES_MAX
"""Deaths that wait to be written; the oldest are forgotten."""
STORE_AFTER_S: Final = 0.2
"""How long after a death that no module caused its report is written: a takeover needs the
processor and etcd first."""
RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 10.0
REQUEST_S: Final = 2.0
BUNDLED: Final = str(Path(__file__).parents[2] / "modules")
"""Where the modules are that come along."""
_CRASHES: Final = ("SIG", "signal ", "exit ", WATCHDOG)
"""How a death begins that says something of the worker."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerDeath:
    """One worker that ended and was not asked to.

    Attributes:
        how: The signal's name, ``exit status N``, ``OUT_OF_MEMORY`` or ``WATCHDOG``.
        suspect: What is known of the cause.

    """

    how: str
    suspect: Suspect


class PostMortem:
    """Keeps the deaths of this manager's workers until they are stored."""

    def __init__(self, context: GuardContext) -> None:
        """Begin with none."""
        settings = context.settings
        self._folders = ModuleFolders([*module_folders(settings), BUNDLED])
        self._context = context
        self._waiting: deque[_Entry] = deque(maxlen=WAITING_MAX)
        self._added = asyncio.Event()
        self._released: tuple[Operation, ...] = ()

    def examine(self, how: str, evidence: Evidence, /, *, asked: bool) -> dict[str, str]:
        """Take in how a worker ended, whether it was ``asked`` to; what the log should name."""
        if how.startswith("exit"):
            asked |= own_exit(evidence.trace)
        elif how == "SIGKILL" and evidence.out_of_memory:
            how = OUT_OF_MEMORY
        if asked or not how.startswith(_CRASHES):
            self.on_end(None)
            return {}
        suspect = accuse(evidence.trace, how, self._folders, evidence.busy)
        self.on_end(WorkerDeath(how, suspect))
        if not suspect.module:
            return {}
        return {"suspect": suspect.module, "during": suspect.during}

    def on_end(self, death: WorkerDeath | None) -> None:
        """Take in that a worker ended; None: as it was asked to. Waits for nothing."""
        self._released = ()
        if death is None:
            return
        entry = _Entry.of(death, self._context)
        self._waiting.append(entry)
        self._added.set()
        self._released = entry.death_operations(self._context)

    def operations(self) -> tuple[Operation, ...]:
        """Return what goes along with the release of the key of the worker that ended last."""
        return self._released

    def unstored_quarantines(self) -> dict[str, str]:
        """Return the modules to be quarantined by deaths that are not stored yet, and why."""
        counts = Counter(entry.module for entry in self._waiting if entry.module)
        return {
            name: deaths_text(name, [e.record for e in self._waiting if e.module == name])
            for name, count in counts.items()
            if count >= DEATHS_MAX
        }

    async def run(self) -> None:
        """Store what is added, for ever, one after the other."""
        pause_s = RETRY_S
        while True:
            while self._waiting:
                entry = self._waiting[0]
                try:
                    await self._store(entry)
                except MgrError as error:
                    log.warning("death of a worker not stored yet", extra={"error": str(error)})
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, RETRY_S_MAX)
                    continue
                pause_s = RETRY_S
                if self._waiting and self._waiting[0] is entry:
                    self._waiting.popleft()
            self._added.clear()
            await self._added.wait()
            if not any(entry.module for entry in self._waiting):
                await asyncio.sleep(STORE_AFTER_S)

    async def _store(self, entry: _Entry) -> None:
        # The module first: a worker that starts now is to know of it.
        if entry.module:
            await self._store_module_death(entry)
        context = self._context
        prefix = context.keys.crashes_of(context.name)
        report = _report(entry.id, entry.record.at, entry.death, context)
        await context.store.commit([Put(prefix + entry.id, report)], timeout_s=REQUEST_S)
        listed = (await context.store.list(prefix, timeout_s=REQUEST_S)).records
        old = sorted(record.key for record in listed)[:-CRASHES_MAX]
        if old:
            await context.store.commit([Delete(key) for key in old], timeout_s=REQUEST_S)

    async def _store_module_death(self, entry: _Entry) -> None:
        """Add the death, count what is there with it, and quarantine the module if it is enough.

        Written before it is counted: of two guards that do it at once, the later one sees both.
        """
        store, keys, module = self._context.store, self._context.keys, entry.module
        key = keys.deaths_of(module) + entry.id
        await store.commit(entry.death_operations(self._context), timeout_s=REQUEST_S)
        records = (await store.list(keys.deaths_of(module), timeout_s=REQUEST_S)).records
        deaths = decode_deaths(records)
        if len(deaths) >= DEATHS_MAX:
            quarantine = Quarantine(since=entry.record.at, deaths=tuple(deaths[-CRASHES_MAX:]))
            outcome = await store.commit(
                [quarantine_operation(keys, module, quarantine)],
                when=[Created(keys.quarantine(module), ABSENT)],
                timeout_s=REQUEST_S,
            )
            if outcome.succeeded:
                why = deaths_text(module, deaths)
                log.error("module quarantined", extra={"module_name": module, "why": why})
        written = next((record for record in records if record.key == key), None)
        if written is not None:
            # From now on time passes for it. Not if it was released meanwhile.
            grant = await store.grant(DEATHS_WITHIN_S, timeout_s=REQUEST_S)
            await store.commit(
                [Put(key, written.value, grant.lease)],
                when=[Modified(key, written.mod_revision)],
                timeout_s=REQUEST_S,
            )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One death as it is stored: always under the same id, however often that is tried."""

    id: str
    death: WorkerDeath
    record: ModuleDeath

    @property
    def module(self) -> str:
        """The module that caused it; empty if none is known to."""
        return self.death.suspect.module

    @classmethod
    def of(cls, death: WorkerDeath, context: GuardContext) -> _Entry:
        at = utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        name = f"{at}_{uuid.uuid4()}"
        during = death.suspect.during
        record = ModuleDeath(manager=context.name, how=death.how, during=during, at=at)
        return cls(name, death, record)

    def death_operations(self, context: GuardContext) -> tuple[Operation, ...]:
        if not self.module:
            return ()
        return (Put(context.keys.deaths_of(self.module) + self.id, encode(self.record)),)


def _report(name: str, at: str, death: WorkerDeath, context: GuardContext) -> str:
    """Return the report in Ceph's shape, as ``crash post`` takes it, cut to what is allowed."""
    host, me, suspect = os.uname(), context.me, death.suspect
    report: dict[str, Any] = {
        "crash_id": name,
        "timestamp": at,
        "process_name": "mgrd",
        "entity_name": f"mgr.{context.name}",
        "ceph_version": me.version,
        "utsname_hostname": me.host,
        "utsname_sysname": host.sysname,
        "utsname_release": host.release,
        "utsname_version": host.version,
        "utsname_machine": host.machine,
        "os_name": me.machine.get("distro_description", ""),
        "os_id": me.machine.get("distro", ""),
        "os_version_id": me.machine.get("distro_version", ""),
        "mgr_signal": death.how,
        "assert_msg": summary(death),
    }
    if suspect.module:
        report |= {"mgr_module": suspect.module, "mgr_module_caller": suspect.during}
    # The innermost frames say most, and stand last.
    room = REPORT_BYTES_MAX - len(json.dumps(report)) - 64
    return json.dumps({**report, "backtrace": _last_lines(suspect.stack, room)})


def summary(death: WorkerDeath) -> str:
    """Say in one line what became of the worker and by whose fault."""
    suspect = death.suspect
    ended = f"ended with {death.how}" if death.how.startswith("exit") else f"killed by {death.how}"
    whose = f": module '{suspect.module}' {suspect.during}" if suspect.module else ""
    return f"worker {ended}{whose}"


def _last_lines(lines: Iterable[str], room: int) -> list[str]:
    kept: deque[str] = deque()
    for line in reversed(tuple(lines)):
        room -= len(json.dumps(line)) + 2
        if room < 0:
            break
        kept.appendleft(line)
    return list(kept)
