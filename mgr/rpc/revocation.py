"""Ends open streams of clients that may not have them any more.

A stream is checked when it begins. It is checked again when an entry, a role, a token or the
protection of the cluster changes, and when the client's certificate or token ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from mgr.access.caps import AccessRequest
from mgr.access.identity import Caller
from mgr.access.table import Access
from mgr.clock import wall_s
from mgr.errors import NotAuthorizedError

CHECKED_AT_ONCE: Final = 200
"""Streams that are checked before the event loop runs other tasks."""
TIMER_S_MAX: Final = 60.0
"""Longest time until the ends of certificates are looked at again: wall time may be set."""
LATE_S: Final = 0.01
"""How long after the end of a certificate its streams are checked: a timer may be a bit early."""

End = Callable[[NotAuthorizedError], None]


class RevocableStream:
    """One open stream. ``request`` is what its client must be allowed; None: to be authenticated.

    It may be set later, when the first message says what the stream is for.
    """

    def __init__(self, caller: Caller, request: AccessRequest | None, end: End) -> None:
        """Made by ``RevocableStreams.register``; ``end`` is called at most once."""
        self.caller = caller
        self.request = request
        self.end = end


class RevocableStreams:
    """All open streams of a server. Used on the event loop only."""

    def __init__(self, access: Access) -> None:
        """Check with ``access``. Somebody must call ``check`` after each change of it."""
        self._access = access
        self._open: set[RevocableStream] = set()
        self._unchecked: list[RevocableStream] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0

    @contextlib.contextmanager
    def register(
        self, caller: Caller, request: AccessRequest | None, end: End
    ) -> Iterator[RevocableStream]:
        """Call ``end`` with the refusal once ``caller`` may not do ``request`` any more."""
        stream = RevocableStream(caller, request, end)
        self._open.add(stream)
        if caller.expires_s is not None:
            self._set_timer(caller.expires_s)
        try:
            yield stream
        finally:
            self._open.discard(stream)

    @contextlib.contextmanager
    def endable(self, caller: Caller, request: AccessRequest | None) -> Iterator[None]:
        """End the block of the current task when ``caller`` may not do ``request`` any more.

        Raises:
            NotAuthorizedError: It may not.

        """
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a stream is served by a task")
        refusal: list[NotAuthorizedError] = []

        def end(error: NotAuthorizedError) -> None:
            refusal.append(error)
            task.cancel()

        with self.register(caller, request, end):
            try:
                yield
            except asyncio.CancelledError:
                if not refusal:
                    raise  # the client went away, or the server closes
                task.uncancel()
                raise refusal[0] from None

    def check(self, _changes: object = None) -> None:
        """Check every open stream soon, a few at a time."""
        idle = not self._unchecked
        self._unchecked = list(self._open)
        if idle and self._unchecked:
            asyncio.get_running_loop().call_soon(self._check_some)

    def _check_some(self) -> None:
        checked = self._unchecked[-CHECKED_AT_ONCE:]
        del self._unchecked[-CHECKED_AT_ONCE:]
        for stream in checked:
            if stream in self._open and (error := self._refusal(stream)) is not None:
                self._open.discard(stream)
                stream.end(error)
        if self._unchecked:
            asyncio.get_running_loop().call_soon(self._check_some)

    def _refusal(self, stream: RevocableStream) -> NotAuthorizedError | None:
        if stream.request is not None:
            return self._access.refusal(stream.caller, stream.request)
        try:
            self._access.check_authenticated(stream.caller)
        except NotAuthorizedError as error:
            return error
        return None

    def _set_timer(self, ends_s: float) -> None:
        """Check at the wall time ``ends_s``, unless a check comes before."""
        if self._timer is not None:
            if self._timer_s <= ends_s:
                return
            self._timer.cancel()
        self._timer_s = ends_s
        pause_s = min(max(0.0, ends_s - wall_s()) + LATE_S, TIMER_S_MAX)
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.check()
        ends = [each.caller.expires_s for each in self._open if each.caller.expires_s is not None]
        if ends:
            # One that has ended and is not checked yet makes this run again at once.
            self._set_timer(min(ends))
