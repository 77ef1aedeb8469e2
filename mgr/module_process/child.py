"""The process of one module: what runs there after the fork.

The main thread reads the worker's notes, which keep copies of data current. ``<module>-commands``
runs the constructor, commands and notifications, one at a time and in order; ``<module>-serve``
runs ``serve()``; calls of other modules run on further threads. Each of them has a line of its own
to the worker (``child_link``). Its threads and the worker's loop meet in the messages only.
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
from functools import partial
from pathlib import Path
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
from mgr.host.forked_child import end_if_forked
from mgr.host.interpreter_wait import interpreter_wait_ms
from mgr.host.module_package import IN_MODULE_PATH
from mgr.host.notifications import deliver_batch
from mgr.host.reload import digest_of
from mgr.module_api.ceph import bindings
from mgr.module_api.confined_context import confined
from mgr.module_api.context import ModuleContext
from mgr.module_process.child_context import ChildContext, ChildStandbyContext
from mgr.module_process.child_link import ChildLine, ChildLink, Reply, SharedLine
from mgr.module_process.declarations import encode_declarations
from mgr.module_process.failures import encode_crash, encode_failure
from mgr.module_process.messages import (
    MESSAGE_BYTES_MAX,
    PROTOCOL,
    MessageTooLargeError,
    trace_in,
)
from mgr.module_process.process import (
    BEGUN,
    BEGUN_AT,
    EXIT_DISCONNECTED,
    GATE,
    GATE_AT,
    HITS,
    HITS_AT,
    JOBS,
    MAIN,
    REMOTE,
    SERVE,
)
from mgr.module_process.remote import run_remote
from mgr.module_process.start import ENVIRONMENT
from mgr.tracing import Carried
from mgr.worker_trace import SIZE, StepKind

_exit: Final = os._exit
"""As it is before the module is imported: some modules of Ceph replace it."""
REMOTE_THREADS_MAX: Final = 64
"""Calls of other modules that run at the same time; further ones wait."""

CAUSES_MAX: Final = 8
"""Causes of an exception that are looked at."""


class Child:
    """One module's process."""

    def __init__(self, lines: list[socket.socket], memory: mmap.mmap) -> None:
        """Serve the worker behind ``lines``."""
        self._link = ChildLink(lines[MAIN])
        self._link.exit_disconnected = EXIT_DISCONNECTED
        self._lines = {line: ChildLine(self._link, lines[line]) for line in (JOBS, SERVE)}
        self._remote = SharedLine(self._link, lines[REMOTE])
        self._memory = memory
        self._found: DiscoveredModule | None = None
        self._instance: Any = None
        self._context: ChildStandbyContext | None = None
        self._remote_threads = self._remote_idle = 0
        self._counting = threading.Lock()
        self._name = ""
        self._process = os.getpid()

    def run(self) -> NoReturn:
        """Serve until the worker is gone."""
        calls: dict[str, Callable[..., None]] = {
            "load": self._load,
            "serve": self._serve,
            "shutdown": self._shutdown,
            "complete": self._complete,
            "interpreter_wait": self._measure_wait,
        }
        notes: dict[str, Callable[..., None]] = {
            "connect": self._connect,
            **{name: partial(self._apply, name) for name in ("config", "entries", "stale")},
        }
        self._link.read(calls, notes)
        _exit(0)

    # -- loading --------------------------------------------------------------------------------

    def _load(self, reply: Reply, order: dict[str, Any]) -> None:
        """Import the module, on the main thread, and answer with what it declares."""
        location = ModuleLocation(**order["location"])
        self._name = location.name
        logs.set_up_after_fork(**order["log"])
        folder = Path(location.place).parent
        prepare_imports(order["sys_path"], order["aliases"], folder)
        if order["fresh"]:
            forget_compiled(folder)
        self._found = load(location, alone=order["alone"])
        digest = digest_of(location.package) if order["fresh"] and self._found.loaded else ""
        reply.result(encode_declarations(self._found, digest))

    def _connect(self, standby: bool, seed: dict[str, Any]) -> None:  # noqa: FBT001 - a message has no names
        """Take in the copies; what changes from now on is noted."""
        context = (ChildStandbyContext if standby else ChildContext)(self._link, seed)
        if isinstance(context, ChildContext):
            context.call_own = self._call_own
        self._context = context
        self._start("commands", self._run_jobs)

    def _construct(self) -> None:
        found, context = self._found, self._context
        if found is None or context is None:
            raise AssertionError("load and connect come first")
        kind: Any = found.standby
        arguments: tuple[Any, ...] = (found.name, context)
        if isinstance(context, ChildContext):
            seen = confined(cast("ModuleContext", context), found.name, found.manifest)
            kind, arguments = found.active, (found.name, seen, 0)
            self._serve_remote()
        with steps.record(StepKind.CONSTRUCT, self._name):
            self._instance = kind(*arguments)

    # -- what the worker asks -------------------------------------------------------------------

    def _serve(self, reply: Reply) -> None:
        def serve() -> None:
            self._lines[SERVE].belongs_to_this_thread()
            with steps.record(StepKind.SERVE, self._name):
                self._instance.serve()

        self._in_thread("serve", reply, serve, CrashOrigin.SERVE)

    def _shutdown(self, reply: Reply) -> None:
        def shutdown() -> None:
            with steps.record(StepKind.SHUTDOWN, self._name):
                self._instance.shutdown()

        self._in_thread("stop", reply, shutdown, CrashOrigin.SHUTDOWN)

    def _measure_wait(self, reply: Reply) -> None:
        self._in_thread("measure", reply, interpreter_wait_ms)

    def _deliver(self, config: bool, notifications: list[Any]) -> list[Any]:  # noqa: FBT001 - as above
        with steps.record(StepKind.NOTIFY, self._name):
            raised = deliver_batch(self._instance, config, notifications)
        for _, error in raised:
            self._note_refusal(error)
        return [
            (origin.value, encode_crash(Crash.of(self._name, origin, error)))
            for origin, error in raised
        ]

    def _command(
        self, prefix: str, arguments: dict[str, Any], inbuf: str, deadline_s: float
    ) -> tuple[int, str, str]:
        shape: Any = SimpleNamespace(prefix=prefix, module=self._name)
        # Checked here, too: it waited for this thread, and this process may have been paused.
        request = CommandRequest(shape, arguments, inbuf, deadline_s)
        check_may_begin(request, self._name, self._may_begin, CLOCK)
        handle = partial(self._instance._handle_command, inbuf, arguments)  # noqa: SLF001 - Ceph's name
        answer = to_answer(run_command(handle, self._name, shape), shape, 0)
        if len(answer.stdout) + len(answer.stderr) > MESSAGE_BYTES_MAX:
            # Before copies of it are made: it may be as large as the memory.
            return self._too_large()
        return answer.retval, answer.stdout, answer.stderr

    def _may_begin(self) -> bool:
        """Whether the term is valid: the worker keeps its deadline in the shared memory."""
        (until_s,) = GATE.unpack_from(self._memory, GATE_AT)
        return CLOCK.now() < float(until_s)

    def _serve_remote(self) -> None:
        """Start a thread for calls of other modules, unless one waits or there are enough."""
        with self._counting:
            if self._remote_idle or self._remote_threads >= REMOTE_THREADS_MAX:
                return
            self._remote_threads += 1
            self._remote_idle += 1
        try:
            self._start("remote", self._run_remote)
        except RuntimeError:
            with self._counting:
                self._remote_threads -= 1
                self._remote_idle -= 1
            raise

    def _run_remote(self) -> None:
        """Run methods for other modules."""
        line = self._remote
        while True:
            _, number, (_, (method, payload), *trace), _ = line.next_job()
            with self._counting:
                self._remote_idle -= 1
            if not self._remote_idle:
                with contextlib.suppress(RuntimeError):  # no thread to be had: the next call waits
                    self._serve_remote()
            with steps.record(StepKind.REMOTE, self._name, method), Carried(trace_in(trace)):
                answer = run_remote(self._instance, method, payload)
                end_if_forked(self._process, self._name)
            self._answer(Reply(line, number), answer)
            with self._counting:
                self._remote_idle += 1

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

    def _run_jobs(self) -> None:
        """Run what the worker asks of the module one at a time and in order."""
        line = self._lines[JOBS]
        line.belongs_to_this_thread()
        jobs: dict[str, tuple[Callable[..., Any], CrashOrigin | None]] = {
            "construct": (self._construct, CrashOrigin.CONSTRUCTOR),
            "calls_done": (lambda: None, None),
            "deliver": (self._deliver, None),
            "command": (self._command, None),
        }
        while True:
            _, number, (name, args, *trace), _ = line.next_job()
            # Where the end of this process does not lose it: the worker repeats what did not begin.
            BEGUN.pack_into(self._memory, BEGUN_AT, number)
            job, origin = jobs[name]
            with Carried(trace_in(trace)):
                self._run(Reply(line, number), partial(job, *args), origin)

    def _start(self, purpose: str, target: Callable[[], None]) -> None:
        threading.Thread(target=target, name=thread_name(self._name, purpose), daemon=True).start()

    def _in_thread(
        self,
        purpose: str,
        reply: Reply,
        call: Callable[[], Any],
        origin: CrashOrigin | None = None,
    ) -> None:
        self._start(purpose, partial(self._run, reply, call, origin))

    def _run(self, reply: Reply, call: Callable[[], Any], origin: CrashOrigin | None) -> None:
        """Run ``call`` and answer with its result or its exception, which nobody else may see."""
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - a module may raise anything
            end_if_forked(self._process, self._name)
            self._note_refusal(error)
            crash = None
            if origin is not None and not isinstance(error, MgrError):
                crash = Crash.of(self._name, origin, error)
            reply.failure(encode_failure(error, crash))
            return
        end_if_forked(self._process, self._name)
        self._answer(reply, result)

    def _answer(self, reply: Reply, result: Any) -> None:
        try:
            reply.result(result)
        except MessageTooLargeError:
            reply.result(self._too_large())
        except MemoryError as error:
            self._note_refusal(error)
            reply.result((-errno.ENOMEM, "", f"the answer of module '{self._name}': MemoryError"))

    def _too_large(self) -> tuple[int, str, str]:
        limit = f"the limit is {MESSAGE_BYTES_MAX} bytes"
        text = f"the answer of module '{self._name}' is too large: {limit}"
        return -errno.EFBIG, "", text

    def _note_refusal(self, error: BaseException | None) -> None:
        """Count it where the worker sees it if the system refused memory or a file."""
        for _ in range(CAUSES_MAX):
            if isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM:
                self._count(memory=1)
                return
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                self._count(files=1)
                return
            if error is None:
                return
            error = error.__cause__ or error.__context__

    def _count(self, *, memory: int = 0, files: int = 0) -> None:
        with self._counting:
            known = HITS.unpack_from(self._memory, HITS_AT)
            HITS.pack_into(self._memory, HITS_AT, known[0] + memory, known[1] + files)


def prepare_imports(sys_path: list[str], aliases: list[str], folder: Path) -> None:
    """Find modules where the worker finds them, and what is in ``folder`` as it is now."""
    own = os.environ.get(ENVIRONMENT)
    sys.path[:] = [own, *sys_path] if own else sys_path
    # Not all caches: what was installed before the zygote began is as it was then.
    for path in (folder, folder.parent):
        finder: Any = sys.path_importer_cache.get(str(path))
        if finder is not None:
            finder.invalidate_caches()
    bindings.install_stand_ins()
    if aliases:
        parent = sys.modules.setdefault(IN_MODULE_PATH, ModuleType(IN_MODULE_PATH))
        vars(parent)["__path__"] = aliases


def forget_compiled(folder: Path) -> None:
    """Remove the compiled files of a module: an author may save twice within a second."""
    for file in folder.rglob("*.py"):
        with contextlib.suppress(OSError, ValueError):
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def run_child(lines: list[socket.socket], trace_fd: int) -> NoReturn:
    """Serve the worker behind ``lines`` as the process of one module, just after the fork."""
    memory = mmap.mmap(trace_fd, SIZE)
    steps.open_table(trace_fd)
    faulthandler.register(signal.SIGUSR1, file=trace_fd, all_threads=True)
    forbid_breakpoint()
    logging.captureWarnings(capture=False)
    Child(lines, memory).run()
