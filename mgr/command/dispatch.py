"""One path for every command: find, validate, permit, admit, run at most once, shape the answer."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import math
import re
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from mgr.access.caps import Ask
from mgr.access.table import INSIDE, Caller
from mgr.clock import Clock
from mgr.command.registry import BUILTIN, Command, Registry
from mgr.config.kv import decoded
from mgr.errors import (
    NOTHING_RAN,
    DeadlineExceededError,
    InvalidArgumentError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    OverloadedError,
    StoreUnavailableError,
    TermLostError,
)
from mgr.failpoint import Point, reach

HELD_MAX: Final = 4096
"""Commands that wait for the gate or for their module; one more is refused (``EBUSY``)."""
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One command as it arrived.

    Attributes:
        words: As typed, prefix first; keyword forms (``--name=value``) may stand among them.
        arguments: Further arguments by name, typed.
        input: What ``-i FILE`` holds: UTF-8 text.
        request_id: The same in every retry of one intention; empty: no promise of at most once.
        deadline_s: The *moment* on the manager's clock at which the caller stops waiting; None:
            it waits as long as it lives. (A server adds the caller's time-out to ``clock.now()``.)
        caller: Who asks.

    """

    words: Sequence[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input: bytes = b""
    request_id: str = ""
    deadline_s: float | None = None
    caller: Caller = INSIDE


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said: 0 or a negative errno, data, words for people; the term it ran in."""

    retval: int = 0
    stdout: str = ""
    stderr: str = ""
    term: int = 0


class Runner(Protocol):
    """Runs the commands of one module; ``mgr`` is one too.

    Both methods raise what ``NOTHING_RAN`` lists, ``ModuleNotReadyError`` or ``NotActiveError``
    for instance, only while *nothing ran*: a retry will run the command. Should the
    command's own code raise one of these, the runner wraps it in something else. Whatever else
    comes out of ``run`` is taken as raised by the command itself.
    """

    async def ready(self, *, until_s: float) -> None:
        """Return once the module takes commands; at once if it does already.

        Raises:
            ModuleNotReadyError: It is still starting at the moment ``until_s``.
            ModuleFailedError: It failed, or cannot run.

        """
        ...

    async def run(
        self,
        command: Command,
        arguments: dict[str, Any],
        inbuf: str,
        *,
        deadline_s: float,
        caller: Caller,
    ) -> object:
        """Run ``command``; what its handler returned: an ``Answer`` or a tuple of three.

        ``arguments`` holds ``prefix`` and the validated arguments. A command whose moment
        ``deadline_s`` passed before it began is not begun (``OverloadedError``). Cancelled: if
        it has not begun it is left out; if it has, it goes on and nobody hears of its result.
        """
        ...


class Gate(Protocol):
    """May this manager take commands, and may it still answer? Numbers compared, no I/O."""

    @property
    def term(self) -> int:
        """The term that is proven, 0 if none ever was."""
        ...

    def admits(self) -> bool:
        """A new command may begin now: the term is proven, nothing drains."""
        ...

    async def admitted(self, *, until_s: float) -> None:
        """Return as soon as it admits.

        Raises:
            NotActiveError: It will not, or not before the moment ``until_s``. Names the active
                where it is known.

        """
        ...

    def holds(self) -> bool:
        """What ran may be answered: the term is proven at this instant, draining or not."""
        ...

    async def held(self, *, until_s: float) -> None:
        """Return as soon as it holds.

        Raises:
            TermLostError: The term is over, or was not proven again before ``until_s``.

        """
        ...


class Journal(Protocol):
    """Which mutating commands began and how they ended: ``mgr.command.journal``."""

    async def begin(self, request_id: str, digest: str, *, idempotent: bool) -> Answer | None:
        """Record the start; the answer instead, if the same request was answered before."""
        ...

    async def finish(self, request_id: str, digest: str, answer: Answer) -> bool:
        """Record the result. True: the store has it, which also proves the term."""
        ...

    async def forget(self, request_id: str) -> None:
        """Nothing ran: a retry may begin anew."""
        ...


class _Job(NamedTuple):
    """One command on its way: everything that running it takes."""

    command: Command
    runner: Runner
    arguments: dict[str, Any]
    inbuf: str
    deadline_s: float
    caller: Caller


class _Attempt(NamedTuple):
    """A mutating command under way, and what a second caller with its id must match."""

    digest: str
    task: asyncio.Task[Answer | Exception]


@dataclass(kw_only=True, eq=False)
class Dispatcher:
    """Runs commands for as long as this manager's term lasts.

    Cancelling ``execute`` means that its caller went away: a command that has not begun is not
    begun; a mutating one that has begun goes on, and its result is recorded for a retry.

    Attributes:
        permit: Raises ``NotAuthorizedError`` if that caller may not ask that.
        runner_of: A module's runner, asked for at each command; it may refuse as a runner does.
        tasks: Mutating commands run here, so that they outlive their callers.
        hold_s: A command is held at most this long before it begins.

    """

    registry: Registry
    permit: Callable[[Caller, Ask], None]
    runner_of: Callable[[str], Runner]
    gate: Gate
    journal: Journal
    clock: Clock
    tasks: asyncio.TaskGroup
    hold_s: float
    _held: int = field(default=0, init=False)
    _running: int = field(default=0, init=False)
    _stopped_running: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _attempts: dict[str, _Attempt] = field(default_factory=dict, init=False)

    @property
    def running(self) -> int:
        """Commands under way; held ones are not."""
        return self._running

    async def execute(self, request: Request) -> Answer:
        """Find, validate, permit, admit and run one command.

        Raises:
            UnknownCommandError: There is no such command. Nothing ran.
            InvalidArgumentError: Its arguments do not fit. Nothing ran.
            NotAuthorizedError: Its caller may not run it. Nothing ran.
            NotActiveError: This manager may not run it, or not in time. Nothing ran.
            ModuleNotEnabledError: Its module is switched off. Nothing ran.
            ModuleNotReadyError: Its module did not start in time. Nothing ran.
            ModuleFailedError: Its module failed or cannot run. Nothing ran.
            OverloadedError: Too many commands wait. Nothing ran.
            TermLostError: The term ended while it ran: it may have run in part.
            MayHaveRunError: An earlier attempt of this request may have run in part.
            DeadlineExceededError: The caller's time ran out; the message says whether it began.
            StoreUnavailableError: The store was silent; ``OutcomeUnknownError`` if it had begun.

        """
        command, arguments = self.registry.find(request.words, request.arguments)
        self.permit(request.caller, _ask(command, arguments))
        inbuf = decoded(request.input, "the input") if request.input else ""
        deadline_s = math.inf if request.deadline_s is None else request.deadline_s
        now_s = self.clock.now()
        if now_s >= deadline_s:
            raise _too_late(command)
        runner = await self._admitted(command, until_s=min(deadline_s, now_s + self.hold_s))
        job = _Job(command, runner, arguments, inbuf, deadline_s, request.caller)
        if not command.mutates:
            self._begun()
            try:
                return await self._within(job, self._read(job))
            finally:
                self._ended()
        if not request.request_id:
            return await self._outcome(job, self.tasks.create_task(self._settle(self._change(job))))
        return await self._outcome(job, self._attempt(request.request_id, job))

    async def idle(self, *, until_s: float) -> bool:
        """Wait until nothing runs, at most until the moment ``until_s``; whether nothing does."""
        while self._running:
            left_s = until_s - self.clock.now()
            if left_s <= 0:
                return False
            self._stopped_running.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._stopped_running.wait()
            except TimeoutError:
                return not self._running
        return True

    # -- before it begins -----------------------------------------------------------------------

    async def _admitted(self, command: Command, *, until_s: float) -> Runner:
        if self._held >= HELD_MAX:
            raise OverloadedError(f"{self._held} commands wait already: retry later")
        self._held += 1
        try:
            while True:
                if not self.gate.admits():
                    await self.gate.admitted(until_s=until_s)
                runner = self.runner_of(command.module)
                await runner.ready(until_s=until_s)
                # The gate may have shut while the module started.
                if self.gate.admits():
                    return runner
        finally:
            self._held -= 1

    def _attempt(self, request_id: str, job: _Job) -> asyncio.Task[Answer | Exception]:
        if not REQUEST_ID.fullmatch(request_id):
            raise InvalidArgumentError(
                f"request id {request_id!r}: use 1 to 128 of A-Z a-z 0-9 _ . : -"
            )
        digest = _digest(job)
        under_way = self._attempts.get(request_id)
        if under_way is None:
            once = self._once(request_id, digest, job)
            under_way = _Attempt(digest, self.tasks.create_task(self._settle(once)))
            self._attempts[request_id] = under_way
            under_way.task.add_done_callback(lambda _: self._attempts.pop(request_id, None))
        elif under_way.digest != digest:
            raise InvalidArgumentError(
                f"request id {request_id} is in use for another command: make a new id for each"
            )
        return under_way.task

    # -- running --------------------------------------------------------------------------------

    async def _once(self, request_id: str, digest: str, job: _Job) -> Answer:
        earlier = await self.journal.begin(request_id, digest, idempotent=job.command.idempotent)
        if earlier is not None:
            return earlier
        if self.clock.now() >= job.deadline_s:
            await self.journal.forget(request_id)
            raise _too_late(job.command)
        try:
            answer = await self._run(job)
        except NOTHING_RAN:
            await self.journal.forget(request_id)
            raise
        except StoreUnavailableError as error:
            raise _unclear(job.command, error) from None
        # Recording is a guarded write: if it succeeds, the term held until after the command.
        if not await self.journal.finish(request_id, digest, answer):
            await self._still_ours(job)
        return answer

    async def _change(self, job: _Job) -> Answer:
        try:
            answer = await self._run(job)
        except StoreUnavailableError as error:
            raise _unclear(job.command, error) from None
        await self._still_ours(job)
        return answer

    async def _still_ours(self, job: _Job) -> None:
        # What a command changed in a module's memory ends with the term. To call it done when a
        # successor leads, which never heard of it, would be a lie.
        if not self.gate.holds():
            until_s = min(job.deadline_s, self.clock.now() + self.hold_s)
            await self.gate.held(until_s=until_s)

    async def _read(self, job: _Job) -> Answer:
        # What it saw may be older than what a successor has acknowledged by now.
        answer = await self._run(job)
        await self._still_ours(job)
        return answer

    async def _run(self, job: _Job) -> Answer:
        # Recording the start took its time, and a process may have slept meanwhile. What begins
        # under a shut gate acts beside a successor.
        while not self.gate.holds():
            try:
                until_s = min(job.deadline_s, self.clock.now() + self.hold_s)
                await self.gate.held(until_s=until_s)
            except TermLostError:
                raise NotActiveError(None) from None
        term = self.gate.term
        reach(Point.COMMAND)
        try:
            result = await job.runner.run(
                job.command,
                job.arguments,
                job.inbuf,
                deadline_s=job.deadline_s,
                caller=job.caller,
            )
        except MgrError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of module code: it may raise anything
            return Answer(-errno.EINVAL, "", _encodable(_traceback(error)), term)
        return shaped(result, job.command, term)

    # -- waiting for it -------------------------------------------------------------------------

    async def _settle(self, work: Coroutine[Any, Any, Answer]) -> Answer | Exception:
        # An error is this command's outcome, not the end of the task group it runs in.
        self._begun()
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - handed on to the callers
            return error
        finally:
            self._ended()

    def _begun(self) -> None:
        # From before its start is recorded until its result is: a hand-over that looked only at
        # the run itself would stop the module, or give the office back, in between.
        self._running += 1

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._stopped_running.set()

    async def _outcome(self, job: _Job, task: asyncio.Task[Answer | Exception]) -> Answer:
        outcome = await self._within(job, _shielded(task))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _within(self, job: _Job, work: Coroutine[Any, Any, T]) -> T:
        if job.deadline_s == math.inf:
            return await work
        try:
            async with asyncio.timeout(max(0.0, job.deadline_s - self.clock.now())):
                return await work
        except TimeoutError:
            raise DeadlineExceededError(
                f"'{job.command.prefix}' was begun and is not finished: its outcome is unknown"
            ) from None


def shaped(result: object, command: Command, term: int) -> Answer:
    """The answer in ``result``, whatever a handler returned.

    A tuple of an int and two texts is one; anything else becomes ``EINVAL`` with a text that says
    what was returned. Text that cannot be UTF-8 has the offending characters escaped.
    """
    if isinstance(result, Answer):
        return replace(
            result,
            stdout=_encodable(result.stdout),
            stderr=_encodable(result.stderr),
            term=result.term or term,
        )
    if isinstance(result, tuple) and len(result) == 3:
        retval, stdout, stderr = result
        if isinstance(retval, int) and isinstance(stdout, str) and isinstance(stderr, str):
            return Answer(int(retval), _encodable(stdout), _encodable(stderr), term)
        got = ", ".join(type(element).__name__ for element in result)
        wrong = f"a tuple of ({got})"
    else:
        wrong = type(result).__name__
    text = (
        f"command '{command.prefix}' of module '{command.module}' returned {wrong} "
        "instead of (retval: int, stdout: str, stderr: str)"
    )
    log.error("wrong type of result", extra={"module_name": command.module, "error": text})
    return Answer(-errno.EINVAL, "", text, term)


async def _shielded(task: asyncio.Task[Answer | Exception]) -> Answer | Exception:
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise TermLostError("this manager gave up its office while the command ran") from None
        raise


def _ask(command: Command, arguments: Mapping[str, Any]) -> Ask:
    module = "" if command.module == BUILTIN else command.module
    return Ask(command.prefix, command.perm, module, arguments)


def _too_late(command: Command) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"'{command.prefix}' was not begun: its caller's time was over. Nothing ran"
    )


def _unclear(command: Command, error: StoreUnavailableError) -> StoreUnavailableError:
    """The error for a mutating command during which the store fell silent."""
    if command.idempotent or isinstance(error, OutcomeUnknownError):
        return error
    unclear = OutcomeUnknownError(f"'{command.prefix}' may have run in part: {error}")
    unclear.__cause__ = error
    return unclear


def _digest(job: _Job) -> str:
    what = msgspec.json.encode([job.arguments, job.inbuf], enc_hook=repr, order="deterministic")
    return hashlib.sha256(what).hexdigest()[:16]


def _encodable(text: str) -> str:
    if text.isascii():
        return text
    return text.encode(errors="backslashreplace").decode()


def _traceback(error: Exception) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as second:  # noqa: BLE001 - a module's exception may not even be printable
        return f"{type(error).__name__}: Error processing exception object: {type(second).__name__}"
