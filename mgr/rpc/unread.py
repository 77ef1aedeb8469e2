"""Limits the memory of answers that clients do not read.

gRPC keeps a message until its client has taken it, and a client may take its time: twenty thousand
calls of one connection, each with an answer of a mebibyte, would be twenty gigabytes. What is kept
is counted by caller and in total. A caller with too much of it waits with its next call, and is
then refused; a stream with a message that finds no room ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, cast

import grpc

from mgr.access.identity import Caller
from mgr.client_limits import ClientLimits
from mgr.errors import OutcomeUnknownError, OverloadedError
from mgr.rpc.limits import identity
from mgr.waiting import Broadcast

CALLER_BYTES_MAX: Final = 32 << 20
"""With so much unread, a caller's next call waits."""
TOTAL_BYTES_MAX: Final = 128 << 20
"""The same for all callers together."""
HARD_FACTOR: Final = 2
"""Answers of calls that began below the limit are kept up to this multiple of it."""
ROOM_S: Final = 10.0
"""How long a call, or a message of a stream, waits for room."""

Context = grpc.aio.ServicerContext[Any, Any]


class UnreadAnswers:
    """Counts the bytes of messages that clients have not taken. The event loop only.

    Attributes:
        limits: What refusals are reported to.

    """

    def __init__(self, limits: ClientLimits) -> None:
        """Report refusals to ``limits``."""
        self.limits = limits
        self._total = 0
        self._bytes: dict[str, int] = {}
        self._freed = Broadcast()
        self._stuck: list[tuple[Context, str, int]] = []

    @property
    def total_bytes(self) -> int:
        """Bytes that are unread, of all callers."""
        return self._total

    def has_room(self, caller: Caller) -> bool:
        """Return whether ``wait_room`` would return at once."""
        return self._has_room(identity(caller))

    async def wait_room(self, caller: Caller) -> None:
        """Wait until ``caller`` has read enough of what it was sent.

        Raises:
            OverloadedError: It has not within ``ROOM_S``. Nothing was begun.

        """
        who = identity(caller)
        if self._has_room(who):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROOM_S):
                while True:
                    freed = self._freed.next
                    if self._has_room(who):
                        return
                    await freed.wait()
        raise self._refusal(who)

    def until_sent(self, caller: Caller, size: int) -> None:
        """Count the answer of a unary call, of ``size`` bytes, until the current task has ended.

        That is gRPC's for this call. It also has callbacks of a call, which would keep the call
        until the next garbage collection: each has a reference to it.

        Raises:
            OutcomeUnknownError: Far too much is unread: the answer is not sent, though it ran.

        """
        self.check_answer(caller)
        who, task = identity(caller), asyncio.current_task()
        if task is None:
            raise AssertionError("gRPC serves each call in a task")
        self.add(who, size)
        task.add_done_callback(lambda _: self.remove(who, size))

    def grow(self, caller: Caller, size: int) -> None:
        """Count ``size`` more bytes, or less, that a connection keeps for ``caller``."""
        who = identity(caller)
        if size > 0:
            self.add(who, size)
        elif size < 0:
            self.remove(who, -size)

    def check_answer(self, caller: Caller) -> None:
        """Check that one more answer of ``caller`` may be kept.

        Raises:
            OutcomeUnknownError: Far too much is unread: the answer is not sent, though it ran.

        """
        who = identity(caller)
        if not self._has_room(who, HARD_FACTOR):
            self._refusal(who)
            raise OutcomeUnknownError(
                f"it ran, and its answer is not sent: {self._bytes.get(who, 0)} bytes of answers "
                f"to {who or 'this client'} are not read"
            )

    def message(self, caller: Caller, size: int, context: Context) -> _Message:
        """Count one message of a stream while the block sends it.

        If the block is cancelled, gRPC may have the message still, and keeps it until the client
        ends the call: there is no way to take it back.
        """
        return _Message(self, identity(caller), size, context)

    def add(self, who: str, size: int) -> None:
        """Count ``size`` more bytes of ``who``."""
        self._bytes[who] = self._bytes.get(who, 0) + size
        self._total += size

    def remove(self, who: str, size: int) -> None:
        """Count ``size`` less."""
        self._total -= size
        # An empty message counts nothing, so its caller may have been forgotten by now.
        left = self._bytes.get(who, 0) - size
        if left > 0:
            self._bytes[who] = left
        else:
            self._bytes.pop(who, None)
        self._freed.notify()

    def stuck(self, who: str, size: int, context: Context) -> None:
        """Count ``size`` bytes until the call of ``context`` has ended."""
        self._stuck.append((context, who, size))

    def _has_room(self, who: str, factor: int = 1) -> bool:
        for _ in range(2):
            own = self._bytes.get(who, 0)
            if own < factor * CALLER_BYTES_MAX and self._total < factor * TOTAL_BYTES_MAX:
                return True
            if not self._forget_ended():
                return False
        return False

    def _forget_ended(self) -> bool:
        """Take away what gRPC kept for calls that their clients have ended by now."""
        ended = [each for each in self._stuck if each[0].cancelled()]
        self._stuck = [each for each in self._stuck if each not in ended]
        for _, who, size in ended:
            self.remove(who, size)
        return bool(ended)

    def _refusal(self, who: str) -> OverloadedError:
        own = self._bytes.get(who, 0)
        self.limits.reached("unread" if own >= CALLER_BYTES_MAX else "unread_total", who)
        return OverloadedError(
            f"{own} bytes of answers to {who or 'this client'} are not read: read them first"
        )


class _Message:
    """The block of ``UnreadAnswers.message``: a class, since each message of a stream enters it."""

    __slots__ = ("_context", "_size", "_unread", "_who")

    def __init__(self, unread: UnreadAnswers, who: str, size: int, context: Context) -> None:
        self._unread = unread
        self._who = who
        self._size = size
        self._context = context

    def __enter__(self) -> None:
        self._unread.add(self._who, self._size)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self._unread.stuck(self._who, self._size, self._context)
        else:
            self._unread.remove(self._who, self._size)


def counted(context: Context, unread: UnreadAnswers, caller: Caller, *, pushes: bool) -> Context:
    """Return ``context`` of a stream with messages that are counted until they are sent.

    A stream that ``pushes``, unasked, ends if one of its messages finds no room. In another one
    the client asks first, and is refused.
    """
    return cast("Context", _CountedContext(context, unread, caller, pushes=pushes))


class _CountedContext:
    """Counts what is written, one message at a time: gRPC accepts no more. Delegates the rest."""

    def __init__(
        self, context: Context, unread: UnreadAnswers, caller: Caller, *, pushes: bool
    ) -> None:
        self._context = context
        self._unread = unread
        self._caller = caller
        self._pushes = pushes
        self._writing = asyncio.Lock()

    async def write(self, message: Any) -> None:
        """Send ``message`` after those that wait already."""
        if self._pushes:
            await self._unread.wait_room(self._caller)
        with self._unread.message(self._caller, message.ByteSize(), self._context):
            async with self._writing:
                await self._context.write(message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
