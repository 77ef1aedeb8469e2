"""Gating of gRPC calls: a call that answers as the active is answered only in a valid term.

The table lists every method of this server. ``mgr.rpc.edge`` applies it, so that no servicer has to
check the gate itself. The reasons for each kind of gating are in docs/adr/0037.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

import grpc

from mgr.clock import Clock
from mgr.errors import (
    InternalError,
    InvalidArgumentError,
    MgrError,
    ModuleFailedError,
    ModuleNotEnabledError,
    ModuleNotReadyError,
    NotActiveError,
    NotAuthorizedError,
    StoreUnavailableError,
    TermLostError,
)

GRACE_S: Final = 2.0
"""Time that streams of a suspended active stay open without messages until the same term is
confirmed again. A leader election inside etcd takes about a second."""

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]


class Gating(Enum):
    """How a method depends on the gate."""

    OPEN = auto()
    """Any manager answers, at any time: the answer does not depend on being active."""
    READ = auto()
    """Unary: answered only if the term is valid when the data is complete."""
    CHANGE = auto()
    """Unary: as READ, and begun only when the gate accepts new work."""
    COMMAND = auto()
    """The dispatcher checks the gate for each command, before and after it."""
    SESSION = auto()
    """A stream of commands: accepts no more after the term, and answers those accepted before."""
    STREAM = auto()
    """Each message waits until the term is valid; the stream ends with the term."""


class Rule(NamedTuple):
    """One line of the table."""

    gating: Gating
    why: str


RULES: Final[Mapping[str, Rule]] = {
    "/mgr.rpc.v1.CommandService/Execute": Rule(Gating.COMMAND, "one command"),
    "/mgr.rpc.v1.CommandService/Session": Rule(Gating.SESSION, "many commands"),
    "/mgr.rpc.v1.CommandService/DescribeCommands": Rule(
        Gating.READ, "only the active has the table of commands"
    ),
    "/mgr.rpc.v1.ManagerService/GetStatus": Rule(
        Gating.OPEN, "returns the state of this manager, 'suspended' included"
    ),
    "/mgr.rpc.v1.ManagerService/WatchActive": Rule(
        Gating.OPEN, "every manager's view; a suspended one does not name itself"
    ),
    "/mgr.rpc.v1.ManagerService/Fail": Rule(Gating.CHANGE, "gives up leadership"),
    "/mgr.rpc.v1.ManagerService/FollowLog": Rule(Gating.STREAM, "the cluster log is the active's"),
    "/mgr.rpc.v1.ClusterService/Report": Rule(Gating.STREAM, "daemons belong to the active"),
    "/mgr.rpc.v1.ClusterService/ListDaemons": Rule(Gating.READ, "the fleet is the active's"),
    "/mgr.rpc.v1.ClusterService/GetCounters": Rule(Gating.READ, "the fleet is the active's"),
    "/mgr.rpc.v1.ClusterService/GetMap": Rule(Gating.READ, "the newest version is the active's"),
    "/mgr.rpc.v1.ClusterService/ListMaps": Rule(Gating.READ, "the newest version is the active's"),
    "/mgr.rpc.v1.ClusterService/SetMap": Rule(Gating.CHANGE, "publishes"),
    "/mgr.rpc.v1.ClusterService/RemoveMap": Rule(Gating.CHANGE, "removes"),
    "/mgr.rpc.v1.ClusterService/WatchMaps": Rule(Gating.STREAM, "the newest version is sent"),
    "/mgr.rpc.v1.CertificateService/Join": Rule(Gating.CHANGE, "uses up a join token"),
    "/mgr.rpc.v1.CertificateService/Renew": Rule(
        Gating.CHANGE, "the newest capabilities are the active's"
    ),
    "/mgr.rpc.v1.CertificateService/Sign": Rule(
        Gating.OPEN, "a signer signs whatever its role; a token is used up by the active's write"
    ),
    "/grpc.health.v1.Health/Check": Rule(Gating.OPEN, "SERVING while the gate accepts new work"),
    "/grpc.health.v1.Health/Watch": Rule(Gating.OPEN, "SERVING while the gate accepts new work"),
    "/grpc.health.v1.Health/List": Rule(Gating.OPEN, "not served here: UNIMPLEMENTED"),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule(
        Gating.OPEN, "describes the interface, which no term changes"
    ),
}
"""The gating of every method, by its full name."""

STATE_INDEPENDENT: Final = (NotActiveError, TermLostError, StoreUnavailableError, InternalError)
"""Errors that do not depend on this manager's data, so that they may be sent at any time. All other
errors reveal data (there is no such map) and are gated like answers."""

NOT_BEGUN: Final = (
    InvalidArgumentError,
    NotAuthorizedError,
    ModuleNotEnabledError,
    ModuleNotReadyError,
    ModuleFailedError,
)
"""Errors of a command that does not run because of this manager's view of commands, capabilities
and modules."""

T = TypeVar("T")


class CallGate(Protocol):
    """Decides whether this manager may answer as the active now; see ``mgr.worker.gate``."""

    @property
    def term(self) -> int:
        """The last confirmed term, 0 if this manager never led."""
        ...

    @property
    def deadline_s(self) -> float:
        """The moment at which the gate closes, or closed, unless the term is confirmed again."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the term is over for good."""
        ...

    def term_valid(self) -> bool:
        """Return whether a result may be answered now."""
        ...

    def accepts(self) -> bool:
        """Return whether new work may begin now."""
        ...

    async def wait_accepting(self, *, until_s: float) -> None:
        """Wait until ``accepts`` is true, or raise ``NotActiveError``."""
        ...

    async def wait_term_valid(self, *, until_s: float) -> None:
        """Wait until ``term_valid`` is true, or raise ``TermLostError``."""
        ...

    async def wait_answerable(self, *, until_s: float) -> None:
        """Wait until ``term_valid`` is true, or raise ``NotActiveError``."""
        ...

    async def wait_changed(self) -> None:
        """Wait until the gate is opened, drained or ended."""
        ...

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each such change."""
        ...

    def refusal(self) -> NotActiveError:
        """Return the error for callers; it names the new active if that is known."""
        ...


class WaitForTerm(Protocol):
    """Waits until the term is valid."""

    async def __call__(self, *, until_s: float) -> None:
        """Return once it is valid, or raise at the moment ``until_s``."""
        ...


class GatedStreams:
    """The open streams of one term; ends them when it ends or is not confirmed for too long."""

    def __init__(self, gate: CallGate, clock: Clock, *, grace_s: float) -> None:
        """End streams ``grace_s`` seconds after the deadline of ``gate``, at once if it ended."""
        self._gate = gate
        self._clock = clock
        self._grace_s = grace_s
        self._open: set[asyncio.Task[object]] = set()
        self._cancelled: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        gate.subscribe(self._end_if_over)

    def endable(self) -> _Endable:
        """End the block of the current task when the term ends.

        Raises:
            NotActiveError: The term is over, or was not confirmed again within the grace.

        """
        return _Endable(self)

    def open(self) -> asyncio.Task[object]:
        """Begin such a block; return its task."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a stream is served by a task")
        if self._term_over():
            raise self._gate.refusal()
        self._open.add(task)
        if self._timer is None:
            self._end_if_over()
        return task

    def close(self, task: asyncio.Task[object]) -> bool:
        """End the block of ``task``; return whether it was cancelled because the term is over."""
        self._open.discard(task)
        if task not in self._cancelled:
            return False
        self._cancelled.discard(task)
        return True

    def refusal(self) -> NotActiveError:
        """Return the error for the client of an ended stream."""
        return self._gate.refusal()

    def _term_over(self) -> bool:
        # Term 0: this manager never led. Its role refuses the call, so no term can be over.
        return self._gate.term > 0 and (self._gate.ended or self._left_s() <= 0)

    def _left_s(self) -> float:
        return self._gate.deadline_s + self._grace_s - self._clock.now()

    def _end_if_over(self) -> None:
        """End all streams if the term is over; otherwise check again when it may be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._term_over():
            for task in self._open - self._cancelled:
                self._cancelled.add(task)
                task.cancel()
        elif self._open and self._gate.term > 0:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._left_s(), self._end_if_over)


class _Endable:
    """The block of ``GatedStreams.endable``: a class, since each message of a daemon enters it."""

    __slots__ = ("_streams", "_task")

    def __init__(self, streams: GatedStreams) -> None:
        self._streams = streams

    def __enter__(self) -> None:
        self._task = self._streams.open()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        ended = self._streams.close(self._task)
        # Any other cancellation means that the client went away, or the server closes.
        if ended and kind is not None and issubclass(kind, asyncio.CancelledError):
            self._task.uncancel()
            raise self._streams.refusal() from None


class GateEnforcer:
    """Applies the table to the methods' behaviours."""

    def __init__(self, gate: CallGate, clock: Clock, *, hold_s: float) -> None:
        """Check ``gate``; a call waits at most ``hold_s`` seconds for the term to be confirmed."""
        self._gate = gate
        self._clock = clock
        self._hold_s = hold_s
        self._streams = GatedStreams(gate, clock, grace_s=min(GRACE_S, hold_s))

    def behaviour(self, method: str, inner: Behaviour, *, reads: bool) -> Behaviour:
        """Wrap ``inner``, the behaviour of ``method``, according to the table.

        ``reads``: it reads a stream of requests, so it is ended while it reads.
        """
        match RULES[method].gating:
            case Gating.READ:
                return partial(self._read, inner)
            case Gating.CHANGE:
                return partial(self._change, inner)
            case Gating.STREAM:
                return partial(self._bidi_stream if reads else self._server_stream, inner)
            case Gating.SESSION:
                return partial(self._session, inner)
            case _:
                return inner

    async def command(self, running: Awaitable[T]) -> T:
        """Await a command and return its result. The dispatcher checks the gate for the command.

        Raises:
            NotActiveError: The command was refused because of this manager's view (no such command,
                module disabled), which may be outdated while the gate is closed. Nothing ran.
            MgrError: As raised by the command.

        """
        try:
            return await running
        except NOT_BEGUN:
            await self._require_term()
            raise

    async def _read(self, inner: Behaviour, request: Any, context: Context) -> Any:
        return await self._answer_in_term(inner(request, context), self._gate.wait_answerable)

    async def _change(self, inner: Behaviour, request: Any, context: Context) -> Any:
        if self._gate.term and not self._gate.accepts():
            await self._gate.wait_accepting(until_s=self._until_s())
        return await self._answer_in_term(inner(request, context), self._gate.wait_term_valid)

    async def _answer_in_term(self, answering: Awaitable[Any], wait: WaitForTerm) -> Any:
        # Checked after the data is complete, not before: the term may end while it is collected.
        try:
            answer = await answering
        except STATE_INDEPENDENT:
            raise
        except MgrError:
            await self._require_term()
            raise
        if not self._gate.term_valid():
            await wait(until_s=self._until_s())
        return answer

    async def _require_term(self) -> None:
        # After a refusal nothing was done, so the client may try another manager, also with a
        # change: NotActiveError is right here, not TermLostError.
        if self._gate.term and not self._gate.term_valid():
            await self._gate.wait_answerable(until_s=self._until_s())

    async def _server_stream(self, inner: Behaviour, request: Any, context: Context) -> None:
        with self._streams.endable():
            await inner(request, _gated(context, self._gate, self._streams))

    async def _bidi_stream(self, inner: Behaviour, requests: Any, context: Context) -> None:
        await inner(requests, _gated(context, self._gate, self._streams))

    async def _session(self, inner: Behaviour, requests: Any, context: Context) -> None:
        await inner(requests, cast("Context", _SessionContext(context, self._streams)))

    def _until_s(self) -> float:
        return self._clock.now() + self._hold_s


class _GatedContext:
    """Context of a call whose messages depend on the term. Delegates everything else."""

    def __init__(self, context: Context, gate: CallGate, streams: GatedStreams) -> None:
        """End reads with ``streams``; writes wait for ``gate``."""
        self._context = context
        self._gate = gate
        self._streams = streams

    async def read(self) -> Any:
        """Return the next message; raise ``NotActiveError`` when the term is over."""
        with self._streams.endable():
            return await self._context.read()

    async def write(self, message: Any) -> None:
        """Send ``message`` once the term is valid; the wait is cancelled when the stream ends."""
        while not self._gate.term_valid():
            await self._gate.wait_changed()
        await self._context.write(message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class _SessionContext:
    """Context of a session: reading ends with the term, answers do not. Delegates the rest."""

    def __init__(self, context: Context, streams: GatedStreams) -> None:
        self._context = context
        self._streams = streams

    def reading(self) -> _Endable:
        """Return the block in which requests are read: it ends with ``NotActiveError``."""
        return self._streams.endable()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _gated(context: Context, gate: CallGate, streams: GatedStreams) -> Context:
    return cast("Context", _GatedContext(context, gate, streams))
