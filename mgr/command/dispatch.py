"""One path for every command: find, validate, permit, admit, run at most once, shape the answer."""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from mgr.access.caps import AccessRequest
from mgr.access.table import Caller
from mgr.clock import Clock
from mgr.command.answer import Answer, encodable, to_answer, traceback_of
from mgr.command.protocols import Gate, Journal, Runner
from mgr.command.registry import BUILTIN, Command, Registry
from mgr.command.request import Request, checked_request_id
from mgr.config.kv import decoded
from mgr.errors import (
    NOTHING_RAN,
    DeadlineExceededError,
    InvalidArgumentError,
    MayHaveRunError,
    MgrError,
    NotActiveError,
    OutcomeUnknownError,
    OverloadedError,
    StoreUnavailableError,
    TermLostError,
)
from mgr.failpoint import Point, reach

QUEUED_MAX: Final = 4096
"""Commands that wait for the gate or for their module; one more is refused (``EBUSY``)."""
REPEAT_WITHIN_S: Final = 60.0
"""An idempotent command that may have run is run again this long after its client first sent it.
Later it could undo what others did meanwhile: a client may have been frozen for minutes."""
NOT_A_REFUSAL: Final = (TermLostError, OutcomeUnknownError)
"""Errors that already say that the command may have run."""

__all__ = ["Answer", "Dispatcher", "Gate", "Request", "Runner", "to_answer"]

T = TypeVar("T")


class _Job(NamedTuple):
    """One command on its way: everything that running it takes."""

    command: Command
    arguments: dict[str, Any]
    inbuf: str
    deadline_s: float
    request: Request
    arrived_s: float

    def age_s(self, now_s: float) -> float:
        """How long ago its client first sent it: at arrival, and what it waited here since."""
        return self.request.age_s + now_s - self.arrived_s


@dataclass(eq=False, slots=True)
class _Attempt:
    """One mutating command with a request id: every caller with this id waits for it.

    It exists from before admission, so that no second caller is refused while the first one is
    held and may still run.

    Attributes:
        digest: What a second caller's request must match.
        callers: How many wait. A command that has not begun is left out when nobody does.
        has_begun: Its start is being recorded, or was.
        unclear_term: The term of an earlier attempt that may have run; None if there is none.

    """

    digest: str
    unclear_term: int | None
    callers: int = 0
    has_begun: bool = False
    task: asyncio.Task[Answer | Exception] = field(init=False)

    @property
    def never_ran(self) -> bool:
        """Whether nothing of it ever ran, nor will once the one caller that waits is gone."""
        return self.callers == 1 and not self.has_begun and self.unclear_term is None


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
    permit: Callable[[Caller, AccessRequest], None]
    runner_of: Callable[[str], Runner]
    gate: Gate
    journal: Journal
    clock: Clock
    tasks: asyncio.TaskGroup
    hold_s: float
    _queued: int = field(default=0, init=False)
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
        command: Command | None = None
        try:
            command, arguments = self.registry.find(request.words, request.arguments)
            self.permit(request.caller, _access_request(command, arguments))
            inbuf = decoded(request.input, "the input") if request.input else ""
        except MgrError as error:
            if command is None or command.mutates:
                self.check_refusal(request, str(error))
            raise
        deadline_s = math.inf if request.deadline_s is None else request.deadline_s
        job = _Job(command, arguments, inbuf, deadline_s, request, self.clock.now())
        if command.mutates and request.request_id:
            return await self._at_most_once(job)
        runner = await self._admit(job)
        if command.mutates:
            return await self._run_in_background(job, self._change(job, runner))
        self._count_start()
        try:
            return await self._with_deadline(job, self._read(job, runner))
        finally:
            self._count_end()

    def check_refusal(self, request: Request, why: str) -> None:
        """Return if ``request``, refused because of ``why``, never ran and cannot run later.

        A refusal is otherwise taken for "nothing ran", and the client issues a new request.

        Raises:
            MayHaveRunError: An attempt of it ran, may have run, or is held and may run.

        """
        request_id = request.request_id
        if not request_id:
            return
        digest, attempt = request.digest, self._attempts.get(request_id)
        if attempt is not None and attempt.digest == digest:
            raise MayHaveRunError(request_id, term=self.gate.term, why=f"it is under way; {why}")
        try:
            earlier = self.journal.earlier_attempts(
                checked_request_id(request_id), digest, age_s=request.age_s
            )
        except InvalidArgumentError:
            return  # the id stands for another request: this one never ran
        if earlier.answer is not None:
            shown = f"its result is not shown: {why}"
            raise MayHaveRunError(request_id, term=earlier.answer.term, why=shown, ran=True)
        if earlier.unclear_term is not None:
            raise MayHaveRunError(request_id, term=earlier.unclear_term, why=why)

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

    async def _admit(self, job: _Job) -> Runner:
        """Wait until the term and the module take commands; the module's runner."""
        now_s = self.clock.now()
        if now_s >= job.deadline_s:
            raise _too_late_error(job.command)
        if self._queued >= QUEUED_MAX:
            raise OverloadedError(f"{self._queued} commands wait already: retry later")
        until_s = min(job.deadline_s, now_s + self.hold_s)
        self._queued += 1
        try:
            while True:
                if not self.gate.accepts():
                    await self.gate.wait_accepting(until_s=until_s)
                runner = self.runner_of(job.command.module)
                await runner.ready(until_s=until_s)
                # The gate may have shut while the module started.
                if self.gate.accepts():
                    return runner
        finally:
            self._queued -= 1

    async def _at_most_once(self, job: _Job) -> Answer:
        request = job.request
        request_id, digest = checked_request_id(request.request_id), request.digest
        attempt = self._attempts.get(request_id)
        if attempt is None:
            # Before admission: what ran is not to be refused because its module fails now.
            earlier = self.journal.earlier_attempts(request_id, digest, age_s=request.age_s)
            if earlier.answer is not None:
                return earlier.answer
            if earlier.unclear_term is not None and not self._repeatable(job):
                raise MayHaveRunError(request_id, term=earlier.unclear_term)
            attempt = self._attempts[request_id] = _Attempt(digest, earlier.unclear_term)
            attempt.task = self.tasks.create_task(_capture_error(self._run_once(job, attempt)))
            attempt.task.add_done_callback(partial(self._remove_attempt, request_id, attempt))
        elif attempt.digest != digest:
            raise InvalidArgumentError(
                f"request id {request_id} is in use for another command: make a new id for each"
            )
        attempt.callers += 1
        try:
            return await self._with_deadline(job, _shield(attempt.task), attempt)
        finally:
            attempt.callers -= 1
            if not attempt.callers and not attempt.has_begun:
                # Here, not in the task's callback: whoever comes next is not to join what ends.
                self._remove_attempt(request_id, attempt)
                attempt.task.cancel()

    def _remove_attempt(self, request_id: str, attempt: _Attempt, _: object = None) -> None:
        if self._attempts.get(request_id) is attempt:
            del self._attempts[request_id]

    # -- running --------------------------------------------------------------------------------

    async def _run_once(self, job: _Job, attempt: _Attempt) -> Answer:
        try:
            runner = await self._admit(job)
            attempt.has_begun = True
            self._count_start()
            try:
                return await self._run_recorded(job, runner, attempt)
            finally:
                self._count_end()
        except NOT_A_REFUSAL:
            raise
        except MgrError as error:
            if attempt.unclear_term is None:
                raise
            # This attempt ran nothing; an earlier one may have.
            raise MayHaveRunError(
                job.request.request_id, term=attempt.unclear_term, why=str(error)
            ) from error

    async def _run_recorded(self, job: _Job, runner: Runner, attempt: _Attempt) -> Answer:
        request_id, digest = job.request.request_id, attempt.digest
        earlier = await self.journal.begin(
            request_id,
            digest,
            idempotent=self._repeatable(job),
            age_s=job.age_s(self.clock.now()),
        )
        if earlier.answer is not None:
            return earlier.answer
        attempt.unclear_term = earlier.unclear_term
        if self.clock.now() >= job.deadline_s:
            await self._not_run(request_id, attempt)
            raise _too_late_error(job.command)
        try:
            answer = await self._run(job, runner, attempt)
        except NOTHING_RAN:
            await self._not_run(request_id, attempt)
            raise
        except StoreUnavailableError as error:
            raise _unclear_error(job.command, error) from None
        # Recording is a guarded write: if it succeeds, the term held until after the command.
        if not await self.journal.finish(request_id, digest, answer):
            await self._check_term(job)
        return answer

    async def _not_run(self, request_id: str, attempt: _Attempt) -> None:
        # What an earlier attempt left behind stays: it is not known to have run nothing.
        if attempt.unclear_term is None:
            await self.journal.forget(request_id)

    async def _change(self, job: _Job, runner: Runner) -> Answer:
        self._count_start()
        try:
            answer = await self._run(job, runner)
            await self._check_term(job)
        except StoreUnavailableError as error:
            raise _unclear_error(job.command, error) from None
        finally:
            self._count_end()
        return answer

    async def _check_term(self, job: _Job) -> None:
        # What a command changed in a module's memory ends with the term. To call it done when a
        # successor leads, which never heard of it, would be a lie.
        if not self.gate.term_valid():
            until_s = min(job.deadline_s, self.clock.now() + self.hold_s)
            await self.gate.wait_term_valid(until_s=until_s)

    async def _read(self, job: _Job, runner: Runner) -> Answer:
        # What it saw may be older than what a successor has acknowledged by now.
        answer = await self._run(job, runner)
        await self._check_term(job)
        return answer

    def _repeatable(self, job: _Job) -> bool:
        # Asked again after each wait: it may have been held for longer than what is allowed.
        return job.command.idempotent and job.age_s(self.clock.now()) <= REPEAT_WITHIN_S

    async def _run(self, job: _Job, runner: Runner, attempt: _Attempt | None = None) -> Answer:
        # Recording the start took its time, and a process may have slept meanwhile. What begins
        # under a shut gate acts beside a successor.
        while not self.gate.term_valid():
            try:
                until_s = min(job.deadline_s, self.clock.now() + self.hold_s)
                await self.gate.wait_term_valid(until_s=until_s)
            except TermLostError:
                raise NotActiveError(None) from None
        unclear_term = None if attempt is None else attempt.unclear_term
        if unclear_term is not None and not self._repeatable(job):
            raise MayHaveRunError(job.request.request_id, term=unclear_term)
        term = self.gate.term
        reach(Point.COMMAND)
        try:
            result = await runner.run(
                job.command,
                job.arguments,
                job.inbuf,
                deadline_s=job.deadline_s,
                caller=job.request.caller,
            )
        except MgrError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of module code: it may raise anything
            return Answer(-errno.EINVAL, "", encodable(traceback_of(error)), term)
        return to_answer(result, job.command, term)

    # -- waiting for it -------------------------------------------------------------------------

    def _count_start(self) -> None:
        # From before its start is recorded until its result is: a hand-over that looked only at
        # the run itself would stop the module, or give the office back, in between.
        self._running += 1

    def _count_end(self) -> None:
        self._running -= 1
        if not self._running:
            self._stopped_running.set()

    async def _run_in_background(self, job: _Job, work: Coroutine[Any, Any, Answer]) -> Answer:
        return await self._with_deadline(job, _shield(self.tasks.create_task(_capture_error(work))))

    async def _with_deadline(
        self, job: _Job, work: Coroutine[Any, Any, T], attempt: _Attempt | None = None
    ) -> T:
        if job.deadline_s == math.inf:
            return await work
        try:
            async with asyncio.timeout(max(0.0, job.deadline_s - self.clock.now())):
                return await work
        except TimeoutError:
            if attempt is not None and attempt.never_ran:
                raise _too_late_error(job.command) from None
            raise DeadlineExceededError(
                f"'{job.command.prefix}' was begun and is not finished: its outcome is unknown"
            ) from None


async def _capture_error(work: Coroutine[Any, Any, Answer]) -> Answer | Exception:
    # An error is this command's outcome, not the end of the task group it runs in.
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - handed on to the callers
        return error


async def _shield(task: asyncio.Task[Answer | Exception]) -> Answer:
    try:
        outcome = await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise TermLostError("this manager gave up leadership while the command ran") from None
        raise
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _access_request(command: Command, arguments: Mapping[str, Any]) -> AccessRequest:
    module = "" if command.module == BUILTIN else command.module
    return AccessRequest(command.prefix, command.perm, module, arguments)


def _too_late_error(command: Command) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"'{command.prefix}' was not begun: its caller's time was over. Nothing ran"
    )


def _unclear_error(command: Command, error: StoreUnavailableError) -> OutcomeUnknownError:
    """The error for a mutating command during which the store fell silent.

    For an idempotent one as well: ``StoreUnavailableError`` would say that nothing ran. It speaks
    of the last request to the store only, and others may have been made before it.
    """
    if isinstance(error, OutcomeUnknownError):
        return error
    unclear = OutcomeUnknownError(f"'{command.prefix}' may have run in part: {error}")
    unclear.__cause__ = error
    return unclear
