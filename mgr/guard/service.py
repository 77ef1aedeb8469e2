"""Run the guard in this process: construct its parts, handle signals, start worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import logging
import signal
from collections.abc import Sequence

import msgspec

from mgr.clock import CLOCK
from mgr.connection import connect
from mgr.guard.early_signals import RELOAD, STOP, WITHOUT_MEANING, EarlySignals
from mgr.guard.identity import ProcessIdentity
from mgr.guard.loop import Guard
from mgr.guard.notify_systemd import Notifier
from mgr.guard.orphans import keep_reaping
from mgr.guard.reaper import become_subreaper
from mgr.guard.spawn import SpawnedWorker, spawn
from mgr.guard.state_file import StateFile
from mgr.guard.worker_process import WorkerProcess
from mgr.guard.worker_supervisor import WorkerListener
from mgr.link import Init, KnownStoreState
from mgr.settings import Settings

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    *,
    worker: Sequence[str],
    first: SpawnedWorker,
    version: str,
    early: EarlySignals,
) -> None:
    """Run manager ``settings.id`` until SIGTERM or SIGINT, also one that ``early`` has kept.

    ``worker`` is the command line of a worker; ``first`` is a worker that was started with it.

    Raises:
        MgrError: The manager cannot run; nothing was changed.

    """
    waiting = [first]
    # If the worker's reaper is killed, this process inherits the processes that the worker started.
    become_subreaper(ctypes.CDLL(None))
    try:
        asyncio.run(_serve(settings, worker, waiting, version, early))
    finally:
        for spawned in waiting:
            spawned.terminate()


async def _serve(
    settings: Settings,
    worker: Sequence[str],
    waiting: list[SpawnedWorker],
    version: str,
    early: EarlySignals,
) -> None:
    state_file = StateFile.of(settings)
    store = connect(settings, state_file.read() if state_file else KnownStoreState())
    init = functools.partial(Init, settings=msgspec.Raw(msgspec.json.encode(settings)))

    def start_worker(incarnation: str, listener: WorkerListener) -> WorkerProcess:
        spawned = waiting.pop() if waiting else spawn(worker)
        seen = store.identity.seen
        quarantined = guard.post_mortem.unstored_quarantines()
        message = init(incarnation=incarnation, store=seen, quarantined=quarantined)
        return WorkerProcess(spawned, message, listener)

    me = ProcessIdentity.of_this_process(version)
    guard = Guard(settings, store, CLOCK, start_worker, me, Notifier())
    guard.use_identity(store.identity)
    log.info("manager starts", extra={"cluster": settings.cluster, "pid": me.pid})
    for listener in settings.unprotected_listeners:
        log.warning("unprotected: no TLS and client certificates", extra={"listener": listener})
    try:
        async with contextlib.AsyncExitStack() as stack:
            if state_file:
                await stack.enter_async_context(state_file.keep_up_to_date(store.identity))
            # No ``await`` in between: a stop signal calls ``guard.stop`` while the guard runs.
            _handle_signals(guard)
            keep_reaping()
            if early.stop_requested:
                log.info("stop requested before the manager started")
            else:
                await guard.run()
    finally:
        await store.close()
    log.info("manager stopped")


def _handle_signals(guard: Guard) -> None:
    loop = asyncio.get_running_loop()
    for number in STOP:
        loop.add_signal_handler(number, guard.stop, number.name)
    loop.add_signal_handler(RELOAD, guard.check_certificates)
    for number in WITHOUT_MEANING:
        loop.add_signal_handler(number, _on_signal_without_meaning, number)


def _on_signal_without_meaning(number: signal.Signals) -> None:
    log.warning("signal ignored: SIGTERM stops the manager", extra={"signal": number.name})
