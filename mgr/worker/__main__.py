"""The worker process, started by its guard: ``python -m mgr.worker --link-fd N``.

This module imports little on purpose: it sends heartbeats within the first tenth of a second, and
imports everything heavy (gRPC, HTTP, the modules) in a thread meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import msgspec

from mgr import logs, tracing
from mgr.clock import CLOCK
from mgr.errors import CannotListenError, InvalidSettingError, MgrError
from mgr.host import steps
from mgr.host.bridge import forbid_breakpoint, forbid_exit, run_in_thread, track_module_threads
from mgr.host.import_lock import search_without_import_lock
from mgr.host.module_resources import track_module_resources
from mgr.host.shared_state import keep_shared_state
from mgr.link import Init, StartFailed, from_guard, open_link
from mgr.module_process.start import fork_zygote
from mgr.module_process.zygote_end import ZygoteEnd
from mgr.settings import Settings
from mgr.worker.guard_link import GuardLink, die_with_parent, dump_stacks_on_signal, exit_now
from mgr.worker.signals import ignore_signals

log = logging.getLogger(__name__)


def main() -> NoReturn:
    """Run a worker for the guard at the other end of ``--link-fd``, until it orders the exit."""
    parser = argparse.ArgumentParser(prog="mgr.worker", description=__doc__)
    parser.add_argument("--link-fd", type=int, required=True, help="socket to the guard")
    parser.add_argument("--trace-fd", type=int, help="memory for what modules do")
    arguments = parser.parse_args()
    link = socket.socket(fileno=arguments.link_fd)
    die_with_parent()
    search_without_import_lock()
    # First thing: a process that has threads or an event loop must not fork and go on.
    zygote = fork_zygote()
    dump_stacks_on_signal(arguments.trace_fd)
    if arguments.trace_fd is not None:
        steps.open_table(arguments.trace_fd)
    forbid_exit()
    forbid_breakpoint()
    track_module_threads()
    track_module_resources()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(link, zygote))
    except* MgrError as errors:
        why = "; ".join(str(error) for error in errors.exceptions)
        log.critical("the worker cannot run", extra={"error": why})
    except* Exception:  # the edge of the process: log it and exit; the guard starts a new worker
        log.critical("the worker failed", exc_info=True)
    exit_now(1)


class _Loop(asyncio.SelectorEventLoop):
    """asyncio's own, with a clock that a module which replaces ``time.monotonic`` does not stop."""

    time = staticmethod(time.monotonic)  # noqa: TID251 - asyncio's own clock


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's, where it is installed (the extra ``fast``): docs/adr/0028."""
    with contextlib.suppress(ImportError):
        loop_factory: Callable[[], asyncio.AbstractEventLoop]
        loop_factory = importlib.import_module("uvloop").new_event_loop
        return loop_factory
    return _Loop


async def _serve(link: socket.socket, zygote: ZygoteEnd) -> None:
    ignore_signals(asyncio.get_running_loop())
    reader, writer = await open_link(link)
    async with asyncio.TaskGroup() as tasks:
        # In a thread, while this loop waits for the first message: the guard starts meanwhile.
        imported = run_in_thread(
            "import-worker", lambda: importlib.import_module("mgr.worker.loop")
        )
        line = await reader.readline()
        if not line:
            exit_now(0)  # the guard could not start; it reports why itself
        init = from_guard(line)
        if not isinstance(init, Init):
            raise TypeError(f"the first message from the guard is not Init: {init}")
        settings = msgspec.json.decode(init.settings, type=Settings)
        logs.set_up(
            level=settings.log_level,
            form=settings.log_format,
            manager=settings.id,
            component="worker",
            never_block=True,
        )
        logs.protect()
        guard_link = GuardLink(reader, writer, CLOCK)
        tasks.create_task(guard_link.send_heartbeats(settings.watchdog_s), name="heartbeat")
        tasks.create_task(guard_link.receive(), name="link")
        try:
            if settings.trace_endpoint:
                # In a thread: importing OpenTelemetry takes a while.
                await run_in_thread("import-otel", partial(_start_tracing, settings))
            worker = await imported
            tasks.create_task(keep_shared_state(), name="keep shared state")
            await worker.run(settings, init, guard_link, tasks, zygote)
        except InvalidSettingError as error:
            invalid = not isinstance(error, CannotListenError)
            guard_link.send(StartFailed(why=str(error), invalid=invalid))
            raise


def _start_tracing(settings: Settings) -> None:
    tracing.start(settings.trace_endpoint, service="mgrd", instance=settings.id)


if __name__ == "__main__":
    main()
