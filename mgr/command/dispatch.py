"""Dispatcher: the one path that every command takes, from its words to its answer.

The steps are: find the command, check the caller's capabilities, validate the arguments, check
conditions of capabilities on arguments, wait for admission (the term and the module), run it,
convert the result, and check that the term is still valid. The order of these steps is what makes
answers trustworthy:

- **The gate before**: a command begins only while the term is valid. Otherwise it would act beside
  the next active manager.
- **The gate after**: an answer leaves only while the term is valid, or after the store accepted a
  fenced write. Otherwise a client could get an acknowledgement or data that the next active manager
  does not have.
- **The journal first**: a mutating command with a request id runs at most once. Its start is
  recorded in the store before it begins, its result after it ended (``mgr.command.journal``).
- **The record before the answer**: a mutating command is acknowledged only when the audit has its
  record, which is written with the journal's (``mgr.audit.trail``).
- **Attempts are shared**: callers with the same request id wait for one ``Attempt``, whether they
  are retries over a new connection or duplicates. It runs in a task of its own, so it goes on when
  a caller goes away.

Words are found in ``registry.py``; arguments are checked by ``mgr/argument/match.py``.
"""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

from mgr import tracing
from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.audit.trail import AuditTrail, Entry
from mgr.clock import Clock
from mgr.command.answer import Answer, to_answer, without_output
from mgr.command.background import capture_error, shield
from mgr.command.command_errors import (
    RaisedErrors,
    too_late_error,
    unclear_error,
    unfinished_error,
    withheld_error,
)
from mgr.command.job import Attempt, Job
from mgr.command.journal import Journal
from mgr.command.protocols import CommandGate, Runner
from mgr.command.registry import Command, Registry
from mgr.command.request import Request, checked_request_id
from mgr.config.kv import decoded
from mgr.errors import (
    NOTHING_RAN,
    AuditUnavailableError,
    InvalidArgumentError,
    MayHaveRunError,
    MgrError,
    NotActiveError,
    NotAuthorizedError,
    OutcomeUnknownError,
    OverloadedError,
    StoreUnavailableError,
    TermLostError,
)
from mgr.failpoint import Point, reach
from mgr.waiting import SharedTimer

QUEUED_MAX: Final = 4096
"""Limit of commands that wait for the gate or for their module; one more gets ``EBUSY``."""
REPEAT_WITHIN_S: Final = 60.0
"""An idempotent command that may have run is run again up to this long after its client first sent
it. Later it could undo changes that others made meanwhile: a client may be frozen for minutes."""
NOT_A_REFUSAL: Final = (TermLostError, OutcomeUnknownError)
"""Errors that already mean that the command may have run."""

__all__ = ["Answer", "CommandGate", "Dispatcher", "Request", "Runner", "to_answer"]

T = TypeVar("T")


@dataclass(kw_only=True, eq=False)
class Dispatcher:
    """Runs commands during this manager's term.

    ``execute`` is cancelled when its caller goes away. A command that has not begun then does not
    begin; a mutating one that has begun goes on, and its result is recorded for a retry.

    Attributes:
        permit: Raises ``NotAuthorizedError`` if the caller lacks the capability; returns whether it
            has it for any arguments.
        audit: Keeps a record of each mutating command.
        runner_of: Returns a module's runner. Called for each command; raises as a runner does.
        tasks: Mutating commands run in this group, so that they outlive their callers.
        hold_s: A command waits at most this many seconds before it begins.
        is_admin: Returns whether the caller may do everything, and so may see tracebacks.

    """

    registry: Registry
    permit: Callable[[Caller, AccessRequest], bool]
    runner_of: Callable[[str], Runner]
    gate: CommandGate
    journal: Journal
    audit: AuditTrail
    clock: Clock
    tasks: asyncio.TaskGroup
    hold_s: float
    is_admin: Callable[[Caller], bool] = lambda _caller: True
    _queued: int = field(default=0, init=False)
    _running: int = field(default=0, init=False)
    _stopped_running: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _attempts: dict[str, Attempt] = field(default_factory=dict, init=False)
    _raised: RaisedErrors = field(init=False)
    _timer: SharedTimer = field(default_factory=SharedTimer, init=False)

    def __post_init__(self) -> None:
        """Make what depends on other fields."""
        self._raised = RaisedErrors(self.clock, self.is_admin)

    @property
    def running(self) -> int:
        """Number of commands that run; queued ones are not counted."""
        return self._running

    @property
    def queued(self) -> int:
        """Number of commands that wait for the gate or for the start of their module."""
        return self._queued

    async def execute(self, request: Request) -> Answer:
        """Find, permit, validate, admit and run one command.

        Raises:
            UnknownCommandError: There is no such command. Nothing ran.
            InvalidArgumentError: An argument is invalid. Nothing ran.
            NotAuthorizedError: The caller may not run it. Nothing ran.
            NotActiveError: This manager is not active, or not again in time. Nothing ran.
            ModuleNotEnabledError: Its module is disabled. Nothing ran.
            ModuleNotReadyError: Its module did not start in time. Nothing ran.
            ModuleFailedError: Its module failed or cannot run. Nothing ran.
            OverloadedError: Too many commands wait. Nothing ran.
            AuditUnavailableError: A required audit sink keeps no records. Nothing ran.
            TermLostError: The term ended while it ran: it may have run in part.
            MayHaveRunError: An earlier attempt of this request may have run in part.
            DeadlineExceededError: The caller's time ran out; the message says if it began.
            StoreUnavailableError: The store did not answer. Nothing ran.
            OutcomeUnknownError: The store did not answer after the command had begun.

        """
        command: Command | None = None
        try:
            command = self.registry.lookup(request.words)
            # Before the arguments are parsed, so that what a caller without the capability sends
            # costs little. Conditions on arguments are checked once these are known.
            access = command.access
            settled = self.permit(request.caller, access)
            arguments = self.registry.arguments(command, request.words, request.arguments)
            if not settled:
                access = replace(access, arguments=arguments)
                self.permit(request.caller, access)
            inbuf = decoded(request.input, "the input") if request.input else ""
        except MgrError as error:
            # The command table, the capabilities or the module may have changed since an earlier
            # attempt: that one may have run although this one is refused.
            if command is None or command.mutates:
                self.check_refusal(request, str(error))
            raise
        deadline_s = math.inf if request.deadline_s is None else request.deadline_s
        job = Job(command, arguments, inbuf, deadline_s, request, self.clock.now(), access)
        if not tracing.enabled():
            return await self._execute(job)
        with job.span(self.gate.term) as span:
            answer = await self._execute(job)
            span.set("mgr.retval", answer.retval)
            return answer

    async def _execute(self, job: Job) -> Answer:
        command, request = job.command, job.request
        if command.mutates and request.request_id:
            return await self._at_most_once(job)
        runner = self._admit_at_once(job) or await self._admit(job)
        if command.mutates:
            return await self._run_in_background(job, self._change(job, runner))
        self._count_start()
        try:
            return await self._with_deadline(job, self._read(job, runner))
        finally:
            self._count_end()

    def check_refusal(self, request: Request, why: str) -> None:
        """Check that ``request``, refused because of ``why``, never ran and cannot run later.

        A client takes a refusal to mean "nothing ran" and may send a new request.

        Raises:
            MayHaveRunError: An attempt of it ran, may have run, or is queued and may run.

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
            return  # the id belongs to another request: this one never ran
        if earlier.answer is not None:
            shown = f"its result is not shown: {why}"
            raise MayHaveRunError(request_id, term=earlier.answer.term, why=shown, ran=True)
        if earlier.unclear_term is not None:
            raise MayHaveRunError(request_id, term=earlier.unclear_term, why=why)

    async def idle(self, *, until_s: float) -> bool:
        """Wait until no command runs, at most until the moment ``until_s``; False if one does."""
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

    def _admit_at_once(self, job: Job) -> Runner | None:
        """Return the module's runner if nothing has to be waited for, as for most commands."""
        if self.clock.now() >= job.deadline_s or not self.gate.accepts():
            return None
        runner = self.runner_of(job.command.module)
        return runner if runner.is_ready else None

    async def _admit(self, job: Job) -> Runner:
        """Wait until the gate and the module take commands; return the module's runner."""
        now_s = self.clock.now()
        if now_s >= job.deadline_s:
            raise too_late_error(job.command)
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
                # Checked again: the gate may have closed while the module started.
                if self.gate.accepts():
                    return runner
        finally:
            self._queued -= 1

    async def _at_most_once(self, job: Job) -> Answer:
        request = job.request
        request_id, digest = checked_request_id(request.request_id), request.digest
        # No await from here to the entry in _attempts: two callers with one id cannot both miss it.
        attempt = self._attempts.get(request_id)
        if attempt is None:
            # The journal is read before admission. A command that ran gets its recorded answer,
            # also if its module has failed since and would refuse it.
            earlier = self.journal.earlier_attempts(request_id, digest, age_s=request.age_s)
            if earlier.answer is not None:
                return await self._replay(job, earlier.answer)
            if earlier.unclear_term is not None and not self._repeatable(job):
                raise MayHaveRunError(request_id, term=earlier.unclear_term)
            attempt = self._attempts[request_id] = Attempt(digest, earlier.unclear_term)
            attempt.task = self.tasks.create_task(capture_error(self._run_once(job, attempt)))
            attempt.task.add_done_callback(partial(self._remove_attempt, request_id, attempt))
        elif attempt.digest != digest:
            raise InvalidArgumentError(
                f"request id {request_id} is in use for another command: make a new id for each"
            )
        attempt.callers += 1
        try:
            return await self._with_deadline(job, shield(attempt.task), attempt)
        finally:
            attempt.callers -= 1
            if not attempt.callers and not attempt.has_begun:
                # Removed here and not in the task's callback, which runs later: the next caller
                # must not join an attempt that is being cancelled.
                self._remove_attempt(request_id, attempt)
                attempt.task.cancel()

    def _remove_attempt(self, request_id: str, attempt: Attempt, _: object = None) -> None:
        if self._attempts.get(request_id) is attempt:
            del self._attempts[request_id]

    # -- running --------------------------------------------------------------------------------

    async def _run_once(self, job: Job, attempt: Attempt) -> Answer:
        try:
            runner = self._admit_at_once(job) or await self._admit(job)
            # Set before the first await of the journal. From here on the attempt is not dropped
            # when its callers go away: its start may be recorded.
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
            # This attempt ran nothing, but an earlier one may have: the error must not mean
            # "nothing ran".
            raise MayHaveRunError(
                job.request.request_id, term=attempt.unclear_term, why=str(error)
            ) from error

    async def _run_recorded(self, job: Job, runner: Runner, attempt: Attempt) -> Answer:
        request_id, digest = job.request.request_id, attempt.digest
        self.audit.sinks.check()
        entry = self._begin(job)
        # The start is in the store before the command begins. If this manager dies in between,
        # the next one finds the start and does not run the command a second time. The write is
        # fenced: a manager whose term is over cannot begin the command at all.
        earlier = await self.journal.begin(
            request_id,
            digest,
            idempotent=self._repeatable(job),
            age_s=job.age_s(self.clock.now()),
            along=(entry.started(),),
        )
        if earlier.answer is not None:
            return await self._replay(job, earlier.answer)
        attempt.unclear_term = earlier.unclear_term
        # Recording took time: the caller may have given up, and would not expect it to run now.
        if self.clock.now() >= job.deadline_s:
            late = too_late_error(job.command)
            await self._not_run(request_id, attempt, entry, late)
            raise late
        try:
            answer = await self._run(job, runner, attempt)
        except (*NOTHING_RAN, NotAuthorizedError) as error:
            await self._not_run(request_id, attempt, entry, error)
            raise
        except StoreUnavailableError as error:
            self.audit.write_later(entry.ended("unknown", detail=str(error)))
            raise unclear_error(job.command, error) from None
        # The gate on the way out. Recording the result is a fenced write: if it succeeds, the term
        # was valid until after the command. Otherwise the gate has to confirm it.
        record = entry.answered(answer.retval, answer.stderr)
        recorded = without_output(answer) if job.command.secret else answer
        if not await self.journal.finish(request_id, digest, recorded, along=(record,)):
            self.audit.write_later(record)
            await self._check_term(job)
        return await self._deliver(job, entry, answer)

    async def _not_run(
        self, request_id: str, attempt: Attempt, entry: Entry, why: Exception
    ) -> None:
        record = entry.ended("not_run", detail=str(why))
        # The record of an earlier attempt is kept: whether that one ran is unknown.
        if attempt.unclear_term is None:
            await self.journal.forget(request_id, along=(record,))
        else:
            self.audit.write_later(record)

    async def _change(self, job: Job, runner: Runner) -> Answer:
        self._count_start()
        try:
            self.audit.sinks.check()
            entry = self._begin(job)
            await self.audit.write(entry.started())
            try:
                answer = await self._run(job, runner)
                await self._check_term(job)
            except (*NOTHING_RAN, NotAuthorizedError) as error:
                self.audit.write_later(entry.ended("not_run", detail=str(error)))
                raise
            except StoreUnavailableError as error:
                self.audit.write_later(entry.ended("unknown", detail=str(error)))
                raise unclear_error(job.command, error) from None
            await self.audit.write_outcome(entry.answered(answer.retval, answer.stderr))
            return await self._deliver(job, entry, answer)
        finally:
            self._count_end()

    def _begin(self, job: Job) -> Entry:
        request = job.request
        return self.audit.begin(
            request.caller,
            job.command.prefix,
            job.arguments,
            request_id=request.request_id,
            input_bytes=len(request.input),
        )

    async def _replay(self, job: Job, answer: Answer) -> Answer:
        # An earlier attempt ran it, and its manager may not have delivered the record to the sinks.
        if not self.audit.delivers:
            return answer
        entry = self._begin(job)
        entry.answered(answer.retval, answer.stderr)
        return await self._deliver(job, entry, answer)

    async def _deliver(self, job: Job, entry: Entry, answer: Answer) -> Answer:
        """Return ``answer`` once every required sink of the audit has its record."""
        try:
            await self.audit.deliver(entry)
        except AuditUnavailableError as error:
            raise withheld_error(job.command, error) from None
        return answer

    async def _check_term(self, job: Job) -> None:
        # A command's change to a module's memory is lost with the term. If another manager leads
        # by now, "done" would be false: the new active does not have that change.
        if not self.gate.term_valid():
            until_s = min(job.deadline_s, self.clock.now() + self.hold_s)
            await self.gate.wait_term_valid(until_s=until_s)

    async def _read(self, job: Job, runner: Runner) -> Answer:
        # Reads pass the gate on the way out too: if another manager leads by now, it may have
        # acknowledged changes that this answer does not contain.
        answer = await self._run(job, runner)
        if not self.gate.term_valid():
            until_s = min(job.deadline_s, self.clock.now() + self.hold_s)
            await self.gate.wait_answerable(until_s=until_s)
        return answer

    def _repeatable(self, job: Job) -> bool:
        # Evaluated again after each wait: the command may have been queued beyond the limit.
        return job.command.idempotent and job.age_s(self.clock.now()) <= REPEAT_WITHIN_S

    async def _run(self, job: Job, runner: Runner, attempt: Attempt | None = None) -> Answer:
        # The last check before module code runs. Recording the start took time, and the process
        # may have been suspended meanwhile. A command that begins while the gate is closed would
        # act beside the next active manager. Nothing ran yet, so NotActiveError is the truth.
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
                permit=partial(self.permit, job.request.caller, job.access),
            )
        except MgrError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of module code: it may raise anything
            return Answer(
                -errno.EINVAL, "", self._raised.text(job.command, job.request.caller, error), term
            )
        return to_answer(result, job.command, term)

    # -- waiting for it -------------------------------------------------------------------------

    def _count_start(self) -> None:
        # A command counts as running from before its start is recorded until its result is. If
        # only the run itself counted, a hand-over could stop the module or release leadership
        # between the run and the recording.
        self._running += 1

    def _count_end(self) -> None:
        self._running -= 1
        if not self._running:
            self._stopped_running.set()

    async def _run_in_background(self, job: Job, work: Coroutine[Any, Any, Answer]) -> Answer:
        # In a task of the group, shielded: a change that has begun is not cut off in the middle
        # because its caller went away or its time ran out.
        return await self._with_deadline(job, shield(self.tasks.create_task(capture_error(work))))

    async def _with_deadline(
        self, job: Job, work: Coroutine[Any, Any, T], attempt: Attempt | None = None
    ) -> T:
        if job.deadline_s == math.inf:
            return await work
        try:
            with self._timer.limit(job.deadline_s - self.clock.now()):
                return await work
        except TimeoutError:
            if attempt is not None and attempt.never_ran:
                raise too_late_error(job.command) from None
            raise unfinished_error(job.command) from None
