"""The process of one module: what runs there after the fork.

The main thread reads the worker's messages. ``<module>-commands`` runs the constructor, commands
and notifications, one at a time and in order; ``<module>-serve`` runs ``serve()``; calls of other
modules run on threads of a pool. Its threads and the worker's loop meet in the messages only.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import importlib
import importlib.util
import logging
import mmap
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType, SimpleNamespace
from typing import Any, Final, NoReturn, cast

from mgr import logs
from mgr.clock import CLOCK
from mgr.command.answer import to_answer
from mgr.errors import MgrError
from mgr.host import steps
from mgr.host.bridge import forbid_breakpoint, thread_name
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.execution import CommandRequest, check_may_begin, run_command
from mgr.host.finder import DiscoveredModule, ModuleLocation, load
from mgr.host.module_package import IN_MODULE_PATH
from mgr.host.notifications import deliver_batch
from mgr.host.reload import digest_of
from mgr.module_api.ceph import bindings
from mgr.module_api.confined_context import confined
from mgr.module_api.context import ModuleContext
from mgr.module_process.child_context import ChildContext, ChildStandbyContext
from mgr.module_process.child_link import ChildLink, Reply
from mgr.module_process.declarations import encode_declarations
from mgr.module_process.failures import encode_crash, encode_failure
from mgr.module_process.messages import MESSAGE_BYTES_MAX, PROTOCOL, MessageTooLargeError
from mgr.module_process.process import BEGUN, BEGUN_AT, GATE, GATE_AT
from mgr.module_process.remote import run_remote
from mgr.text import encodable, traceback_of
from mgr.tracing import Carried
from mgr.worker_trace import SIZE, StepKind

REMOTE_THREADS_MAX: Final = 64
"""Calls of other modules that run at the same time; further ones wait."""

_Job = tuple[int, Callable[[], Any]]


class Child:
    """One module's process."""

    def __init__(self, sock: socket.socket, memory: mmap.mmap) -> None:
        """Serve the worker behind ``sock``."""
        self._link = ChildLink(sock)
        self._memory = memory
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._found: DiscoveredModule | None = None
        self._instance: Any = None
        self._context: ChildStandbyContext | None = None
        self._remote = ThreadPoolExecutor(REMOTE_THREADS_MAX, "remote")
        self._name = ""

    def run(self) -> NoReturn:
        """Serve until the worker is gone."""
        calls: dict[str, Callable[..., None]] = {
            "load": self._load,
            "construct": self._construct,
            "serve": self._serve,
            "shutdown": self._shutdown,
            "calls_done": lambda reply: self._queue(reply, lambda: None),
            "deliver": self._deliver,
            "command": self._command,
            "remote": self._called,
            "complete": self._complete,
        }
        notes: dict[str, Callable[..., None]] = {
            name: partial(self._apply, name) for name in ("config", "entries", "stale")
        }
        self._link.read(calls, notes)
        os._exit(0)

    # -- loading --------------------------------------------------------------------------------

    def _load(self, reply: Reply, order: dict[str, Any]) -> None:
        """Import the module, on the main thread, and answer with what it declares."""
        location = ModuleLocation(**order["location"])
        self._name = location.name
        logs.set_up(**order["log"])
        logs.protect()
        prepare_imports(order["sys_path"], order["aliases"])
        if order["fresh"]:
            forget_compiled(Path(location.place).parent)
        self._found = load(location)
        digest = digest_of(location.package) if order["fresh"] and self._found.loaded else ""
        threading.Thread(
            target=self._run_jobs, name=thread_name(self._name, "commands"), daemon=True
        ).start()
        reply.result(encode_declarations(self._found, digest))

    def _construct(self, reply: Reply, standby: bool, seed: dict[str, Any]) -> None:  # noqa: FBT001 - a message has no names
        found = self._found
        if found is None:
            raise AssertionError("load comes first")
        kind: Any = found.standby if standby else found.active
        context = (ChildStandbyContext if standby else ChildContext)(self._link, seed)
        if isinstance(context, ChildContext):
            context.call_own = self._call_own
        self._context = context
        seen: Any = context
        if isinstance(context, ChildContext):
            seen = confined(cast("ModuleContext", context), found.name, found.manifest)
        arguments = (found.name, seen) if standby else (found.name, seen, 0)

        def construct() -> None:
            with steps.record(StepKind.CONSTRUCT, self._name):
                self._instance = kind(*arguments)

        self._queue(reply, construct, CrashOrigin.CONSTRUCTOR)

    # -- what the worker asks -------------------------------------------------------------------

    def _serve(self, reply: Reply) -> None:
        def serve() -> None:
            with steps.record(StepKind.SERVE, self._name):
                self._instance.serve()

        self._in_thread("serve", reply, serve, CrashOrigin.SERVE)

    def _shutdown(self, reply: Reply) -> None:
        def shutdown() -> None:
            with steps.record(StepKind.SHUTDOWN, self._name):
                self._instance.shutdown()

        self._in_thread("stop", reply, shutdown, CrashOrigin.SHUTDOWN)

    def _deliver(self, reply: Reply, config: bool, notifications: list[Any]) -> None:  # noqa: FBT001 - as above
        def deliver() -> list[Any]:
            with steps.record(StepKind.NOTIFY, self._name):
                raised = deliver_batch(self._instance, config, notifications)
            return [
                (origin.value, encode_crash(Crash.of(self._name, origin, error)))
                for origin, error in raised
            ]

        self._queue(reply, deliver)

    def _command(
        self, reply: Reply, prefix: str, arguments: dict[str, Any], inbuf: str, deadline_s: float
    ) -> None:
        shape: Any = SimpleNamespace(prefix=prefix, module=self._name)

        def command() -> tuple[int, str, str]:
            # Checked here, too: it waited for this thread, and this process may have been paused.
            request = CommandRequest(shape, arguments, inbuf, deadline_s)
            check_may_begin(request, self._name, self._may_begin, CLOCK)
            handle = partial(self._instance._handle_command, inbuf, arguments)  # noqa: SLF001 - Ceph's name
            try:
                result = run_command(handle, self._name, shape)
            except MgrError:
                raise
            except BaseException as error:  # noqa: BLE001 - the module's code
                return -errno.EINVAL, "", encodable(traceback_of(error))
            answer = to_answer(result, shape, 0)
            return answer.retval, answer.stdout, answer.stderr

        self._queue(reply, command)

    def _may_begin(self) -> bool:
        """Whether the term is valid: the worker keeps its deadline in the shared memory."""
        (until_s,) = GATE.unpack_from(self._memory, GATE_AT)
        return CLOCK.now() < float(until_s)

    def _called(self, reply: Reply, method: str, payload: bytes) -> None:
        """Run a method for another module."""
        self._remote.submit(self._answer_remote, reply, method, payload)

    def _answer_remote(self, reply: Reply, method: str, payload: bytes) -> None:
        with steps.record(StepKind.REMOTE, self._name, method), Carried(reply.trace):
            answer = run_remote(self._instance, method, payload)
        reply.result(answer)

    def _call_own(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a method for this module itself, on the calling thread."""
        payload = pickle.dumps((args, kwargs), PROTOCOL)
        return run_remote(self._instance, method, payload)

    def _complete(self, reply: Reply, number: int, retval: int, outb: str, outs: str) -> None:
        if not isinstance(self._context, ChildContext):
            raise TypeError("standby classes send no commands")
        complete = self._context.take_completion(number)
        self._in_thread("answers", reply, partial(complete, retval, outb, outs))

    def _apply(self, name: str, *args: Any) -> None:
        if self._context is not None:
            getattr(self._context, f"apply_{name}")(*args)

    # -- threads --------------------------------------------------------------------------------

    def _queue(
        self, reply: Reply, call: Callable[[], Any], origin: CrashOrigin | None = None
    ) -> None:
        def run() -> None:
            with Carried(reply.trace):
                self._run(reply, call, origin)

        self._jobs.put((reply.number, run))

    def _run_jobs(self) -> None:
        while True:
            number, job = self._jobs.get()
            # Where the end of this process does not lose it: the worker repeats what did not begin.
            BEGUN.pack_into(self._memory, BEGUN_AT, number)
            job()

    def _in_thread(
        self,
        purpose: str,
        reply: Reply,
        call: Callable[[], Any],
        origin: CrashOrigin | None = None,
    ) -> None:
        threading.Thread(
            target=self._run,
            args=(reply, call, origin),
            name=thread_name(self._name, purpose),
            daemon=True,
        ).start()

    def _run(self, reply: Reply, call: Callable[[], Any], origin: CrashOrigin | None) -> None:
        """Run ``call`` and answer with its result or its exception, which nobody else may see."""
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - a module may raise anything
            crash = None
            if origin is not None and not isinstance(error, MgrError):
                crash = Crash.of(self._name, origin, error)
            reply.failure(encode_failure(error, crash))
            return
        try:
            reply.result(result)
        except MessageTooLargeError:
            limit = f"the limit is {MESSAGE_BYTES_MAX} bytes"
            text = f"the answer of module '{self._name}' is too large: {limit}"
            reply.result((-errno.EFBIG, "", text))


def prepare_imports(sys_path: list[str], aliases: list[str]) -> None:
    """Find modules where the worker finds them."""
    sys.path[:] = sys_path
    importlib.invalidate_caches()
    bindings.install_stand_ins()
    if aliases:
        parent = sys.modules.setdefault(IN_MODULE_PATH, ModuleType(IN_MODULE_PATH))
        vars(parent)["__path__"] = aliases


def forget_compiled(folder: Path) -> None:
    """Remove the compiled files of a module: an author may save twice within a second."""
    for file in folder.rglob("*.py"):
        with contextlib.suppress(OSError, ValueError):
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def run_child(sock: socket.socket, trace_fd: int) -> NoReturn:
    """Serve the worker behind ``sock`` as the process of one module. Called just after the fork."""
    memory = mmap.mmap(trace_fd, SIZE)
    steps.open_table(trace_fd)
    faulthandler.register(signal.SIGUSR1, file=trace_fd, all_threads=True)
    forbid_breakpoint()
    logging.captureWarnings(capture=False)
    Child(sock, memory).run()
