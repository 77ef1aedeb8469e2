"""Delivers audit records to the sinks, in order, and knows which of them keep records now.

Each sink has a queue and one writer, which takes everything that waits at once. What a sink did not
keep stays queued and is tried again. A change is acknowledged only when every *required* sink has
its record; while one of them does not keep records, ``check`` refuses changes before they begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mgr.audit.sinks import Sink
from mgr.errors import AuditUnavailableError

QUEUE_MAX: Final = 10_000
"""Records that wait for one sink; the oldest are dropped from the queue, not from the rings."""
BATCH_MAX: Final = 500
RETRY_S: Final = 2.0

RunInThread = Callable[[str, Callable[[], None]], asyncio.Future[None]]
"""Runs a blocking call on a thread of the given name."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    line: str
    kept: asyncio.Future[None] | None = None


@dataclass(eq=False)
class _Writer:
    """One sink and its queue.

    Attributes:
        trouble: Why it does not keep records now; empty if it does.
        dropped: Records that its full queue lost.

    """

    sink: Sink
    required: bool
    queue: deque[_Waiting] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: str = ""
    dropped: int = 0

    def add(self, waiting: _Waiting) -> None:
        if len(self.queue) >= QUEUE_MAX:
            self.queue.popleft()
            self.dropped += 1
        self.queue.append(waiting)
        self.filled.set()


class Delivery:
    """The sinks of one process."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        run_in_thread: RunInThread,
        *,
        required: Collection[str],
        timeout_s: float,
    ) -> None:
        """Deliver to ``sinks``, of which those named in ``required`` must keep every record.

        A sink that takes longer than ``timeout_s`` for a record does not keep records.
        """
        self._writers = [_Writer(sink, sink.name in required) for sink in sinks]
        self._run_in_thread = run_in_thread
        self._timeout_s = timeout_s
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever a sink begins or ceases to keep records."""
        self._listeners.append(listener)

    @property
    def troubles(self) -> Mapping[str, str]:
        """Each sink that does not keep records now, and why."""
        return {each.sink.name: each.trouble for each in self._writers if each.trouble}

    @property
    def trouble(self) -> str:
        """Why a required sink does not keep records; empty if all do."""
        return "; ".join(
            f"audit sink '{each.sink.name}' does not keep records: {each.trouble}"
            for each in self._writers
            if each.trouble and each.required
        )

    def check(self) -> None:
        """Raise if a required sink does not keep records now.

        Raises:
            AuditUnavailableError: It does not; the message says which and why.

        """
        if trouble := self.trouble:
            raise AuditUnavailableError(f"nothing can be changed now: {trouble}")

    async def deliver(self, line: str) -> None:
        """Deliver one record; return when every required sink has it.

        Raises:
            AuditUnavailableError: One did not keep it in time.

        """
        kept: list[asyncio.Future[None]] = []
        for writer in self._writers:
            future = asyncio.get_running_loop().create_future() if writer.required else None
            if future is not None:
                kept.append(future)
            writer.add(_Waiting(line, future))
        if not kept:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                for future in kept:
                    await future
        except TimeoutError:
            self._on_late()
            raise AuditUnavailableError(self.trouble) from None
        finally:
            for future in kept:
                future.cancel()

    def offer(self, line: str) -> None:
        """Deliver one record without waiting."""
        for writer in self._writers:
            writer.add(_Waiting(line))

    async def run(self) -> None:
        """Write for as long as the process runs."""
        async with asyncio.TaskGroup() as tasks:
            for writer in self._writers:
                tasks.create_task(self._write(writer), name=f"audit to {writer.sink.name}")

    # -- inside ---------------------------------------------------------------------------------

    async def _write(self, writer: _Writer) -> None:
        while True:
            await writer.filled.wait()
            batch = [writer.queue[n] for n in range(min(len(writer.queue), BATCH_MAX))]
            try:
                await self._write_batch(writer, [each.line for each in batch])
            except OSError as error:
                self._set_trouble(writer, error.strerror or str(error))
                for each in batch:
                    _settle(each, AuditUnavailableError(self.trouble))
                await asyncio.sleep(RETRY_S)
                continue
            for each in batch:
                _settle(each, None)
                # A full queue may have dropped it while it was written.
                with contextlib.suppress(ValueError, IndexError):
                    if writer.queue[0] is each:
                        writer.queue.popleft()
            if not writer.queue:
                writer.filled.clear()
            self._set_trouble(writer, "")

    async def _write_batch(self, writer: _Writer, lines: Sequence[str]) -> None:
        writing = self._run_in_thread(f"audit-{writer.sink.name}", lambda: writer.sink.write(lines))
        done, _ = await asyncio.wait({writing}, timeout=self._timeout_s)
        if not done:
            self._set_trouble(writer, f"a write takes longer than {self._timeout_s:g} s")
        # A thread cannot be ended: no further write begins before this one returns.
        await writing

    def _on_late(self) -> None:
        for writer in self._writers:
            if writer.required and writer.queue:
                self._set_trouble(writer, f"a write takes longer than {self._timeout_s:g} s")

    def _set_trouble(self, writer: _Writer, trouble: str) -> None:
        if writer.trouble == trouble:
            return
        before, writer.trouble = writer.trouble, trouble
        fields = {"sink": writer.sink.name, "required": writer.required}
        if trouble:
            log.error("audit sink does not keep records", extra={**fields, "why": trouble})
        else:
            log.warning("audit sink keeps records again", extra={**fields, "before": before})
        for listener in self._listeners:
            listener()


def _settle(waiting: _Waiting, error: Exception | None) -> None:
    future = waiting.kept
    if future is None or future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
