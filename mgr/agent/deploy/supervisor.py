"""Starts, restarts, probes and stops each deployed daemon, as its orders say.

One task for each daemon. What is wanted stands in the state file; the task compares it with what
runs and acts. It ends with the agent, and what it started goes on: the next agent finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from mgr.agent.deploy.probes import failure
from mgr.agent.deploy.runtime import FILES, LOG, Running, Runtime, Unit
from mgr.agent.deploy.state import Record, StateFile
from mgr.waiting import wait

STARTING: Final = "starting"
READY: Final = "ready"
UNREADY: Final = "unready"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
REMOVING: Final = "removing"
FAILURES_MAX: Final = 3
"""A daemon has failed after so many failures in a row; it is started again all the same."""
STABLE_S: Final = 10.0
"""After so long without a failure the ones before are forgotten."""
PAUSE_S: Final = 0.2
PAUSE_S_MAX: Final = 30.0
TICK_S: Final = 1.0
"""Seconds between two checks of a daemon that has no probe."""
LOG_BYTES_MAX: Final = 8 << 20
LOG_BYTES_KEPT: Final = 1 << 20

log = logging.getLogger(__name__)


class Supervised:
    """One daemon.

    Attributes:
        state: What it is, in one of the words above.
        detail: Why, in a few words.
        restarts: How often it was started again since the agent started.

    """

    def __init__(self, name: str, supervisor: Supervisor) -> None:
        self.name = name
        self.state = STARTING
        self.detail = ""
        self.restarts = 0
        self._supervisor = supervisor
        self._wake = asyncio.Event()
        self._failures = 0
        self._running: Running | None = None
        self._unit: Unit | None = None
        self._looked = False

    def wake(self) -> None:
        """Compare again, because the wanted state has changed."""
        self._wake.set()

    async def supervise(self) -> None:
        """Bring the daemon into its wanted state, again and again, until it is removed."""
        records = self._supervisor.state.daemons
        while (record := records.get(self.name)) is not None:
            self._wake.clear()
            try:
                await self._step(record)
            except Exception as error:
                # Whatever it is, it must not end the supervision of the others.
                if not isinstance(error, OSError | RuntimeError):
                    log.exception("supervising a daemon failed", extra={"daemon": self.name})
                # What runs is unknown now: it is looked for again before anything is started.
                self._looked, self._running = False, None
                await self._fail(str(error))

    async def _step(self, record: Record) -> None:
        if record.removed:
            self._set(REMOVING, "")
        if not self._looked:
            await self._find(record)
        running = self._running
        wanted = record.running and not record.removed
        if running is not None and not (wanted and running.revision == record.revision):
            await running.stop(self._unit.config.stop_s if self._unit else PAUSE_S_MAX)
            self._running = running = None
        if record.removed:
            await self._remove(record)
            return
        if not record.running:
            self._set(STOPPED, "")
            await self._wake.wait()
            return
        if running is None:
            await self._start(record)
        if how := await self._watch(record):
            self._running = None
            self.restarts += 1
            await self._fail(how)

    async def _find(self, record: Record) -> None:
        """Find what was started: by an agent before this one, or before trouble with its engine."""
        if not record.began:
            self._looked = True
            return
        # It may be of a revision that was replaced while no agent ran: its name is the same.
        unit = self._unit = self._supervisor.unit(self.name, record, record.began)
        runtime = self._supervisor.runtimes[record.began_kind]
        self._running = await runtime.find(unit, (record.pid, record.ticks))
        self._looked = True
        if self._running is not None:
            fields = {"daemon": self.name, "revision": record.began}
            log.info("deployed daemon found running", extra=fields)

    async def _start(self, record: Record) -> None:
        self._set(STARTING, self.detail)
        unit = self._unit = self._supervisor.unit(self.name, record, record.revision)
        _write_files(unit)
        # Before it starts: an agent that finds this looks for the process.
        record.began, record.began_kind = record.revision, record.config.kind
        record.pid = record.ticks = 0
        self._supervisor.state.save()
        self._running = await self._supervisor.runtime(record).start(unit)
        record.pid, record.ticks = self._running.identity
        self._supervisor.state.save()
        fields = {"daemon": self.name, "revision": record.revision, "pid": record.pid}
        log.info("deployed daemon started", extra=fields)

    async def _watch(self, record: Record) -> str:
        """Watch it; return how it ended, or "" as soon as something else is wanted."""
        running = self._running
        if running is None:
            return ""
        try:
            async with asyncio.TaskGroup() as tasks:
                ended = tasks.create_task(running.wait())
                woken = tasks.create_task(self._wake.wait())
                probing = tasks.create_task(self._probe(record))
                await asyncio.wait((ended, woken), return_when=asyncio.FIRST_COMPLETED)
                for task in (ended, woken, probing):
                    task.cancel()
        except* Exception as errors:  # noqa: BLE001 - one is raised again
            raise errors.exceptions[0] from None
        return ended.result() if not ended.cancelled() else ""

    async def _probe(self, record: Record) -> None:
        loop = asyncio.get_running_loop()
        config, begun_s, bad = record.config, loop.time(), 0
        probe = config.probe
        if probe is None:
            await asyncio.sleep(config.settle_s)
        while True:
            why = "" if probe is None else await failure(probe)
            now_s = loop.time()
            if not why:
                bad = 0
                self._set(READY, "")
                if now_s - begun_s > STABLE_S:
                    self._failures = 0
            elif self.state == READY:
                bad += 1
                if probe is not None and bad >= probe.failures:
                    self._set(UNREADY, why)
            elif self.state == STARTING and now_s - begun_s > config.start_s:
                self._set(FAILED, f"not ready after {config.start_s:g} s: {why}")
            if self._unit is not None:
                _trim(self._unit.folder / LOG)
            quick = self.state != READY and probe is not None
            pause_s = TICK_S if probe is None else min(probe.every_s, TICK_S / 4 if quick else 3600)
            await asyncio.sleep(pause_s)

    async def _fail(self, how: str) -> None:
        self._failures += 1
        state = FAILED if self._failures >= FAILURES_MAX else STARTING
        self._set(state, how)
        fields = {"daemon": self.name, "how": how, "failures": self._failures}
        log.warning("deployed daemon failed, trying again", extra=fields)
        await wait(self._wake, min(PAUSE_S_MAX, PAUSE_S * 2 ** min(self._failures, 10)))

    def expect(self, state: str) -> None:
        """Take ``state`` at once, because of an order; failures before do not count any more."""
        self._failures = 0
        self._set(state, "")
        self.wake()

    def _set(self, state: str, detail: str) -> None:
        # A daemon that keeps failing stays ``failed`` until it is ready again.
        if state == STARTING and self._failures >= FAILURES_MAX:
            state = FAILED
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self._supervisor.changed()

    async def _remove(self, record: Record) -> None:
        """Remove what is left of it, unless it is wanted again meanwhile."""
        if self._unit is not None:
            await self._supervisor.runtimes[self._unit.config.kind].clean(self._unit)
        if record.removed:
            shutil.rmtree(self._supervisor.folder / self.name, ignore_errors=True)
            del self._supervisor.state.daemons[self.name]
            self._supervisor.state.save()


class Supervisor:
    """All daemons of this host."""

    def __init__(
        self,
        state: StateFile,
        folder: Path,
        runtimes: Mapping[str, Runtime],
        changed: Callable[[], None],
    ) -> None:
        """Keep the daemons of ``state`` in ``folder``; call ``changed`` when one changes."""
        self.state = state
        self.folder = folder
        self.runtimes = runtimes
        self.changed = changed
        self.daemons: dict[str, Supervised] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Supervise until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            for daemon in list(self.daemons.values()):  # ordered before this began
                self._tasks.create_task(self._supervise(daemon))
            for name in self.state.daemons:
                self.add(name)
            await asyncio.Event().wait()

    def add(self, name: str) -> Supervised:
        """Return the daemon ``name``; begin to supervise it if that is new."""
        found = self.daemons.get(name)
        if found is None:
            found = self.daemons[name] = Supervised(name, self)
            if self._tasks is not None:
                self._tasks.create_task(self._supervise(found))
        return found

    async def _supervise(self, daemon: Supervised) -> None:
        await daemon.supervise()
        del self.daemons[daemon.name]
        self.changed()

    def runtime(self, record: Record) -> Runtime:
        """Return what runs daemons of this kind."""
        return self.runtimes[record.config.kind]

    def unit(self, name: str, record: Record, revision: str) -> Unit:
        """Return the daemon as its runtime sees it."""
        return Unit(name, revision, record.config, self.folder / name)


def _write_files(unit: Unit) -> None:
    files = unit.folder / FILES
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(mode=0o700, parents=True)
    for name, text in unit.config.files.items():
        path = files / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _trim(file: Path) -> None:
    """Keep the end of a log that has become too long; its writers append."""
    with contextlib.suppress(OSError):
        if file.stat().st_size <= LOG_BYTES_MAX:
            return
        with file.open("rb+") as log_file:
            log_file.seek(-LOG_BYTES_KEPT, os.SEEK_END)
            tail = log_file.read()
            log_file.seek(0)
            log_file.truncate()
            log_file.write(tail)
