"""The local socket: a unix socket on which programs of this host reach the manager.

It serves what a command line needs, by the same servicers, limits, gate and capabilities as gRPC,
without gRPC's own costs (docs/adr/0068). The kernel says which user a program runs as. The mode of
the socket decides who may connect; what a client may do is decided by the entry ``uid:<number>`` of
the table of capabilities.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import socket
import stat
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from mgr.access import identity
from mgr.access.identity import Caller
from mgr.clock import Clock
from mgr.errors import (
    CannotListenError,
    InvalidArgumentError,
    MgrError,
    OverloadedError,
    TooLargeError,
)
from mgr.rpc.command import CommandServicer
from mgr.rpc.edge import MalformedMessage, internal, lenient
from mgr.rpc.gated import GateEnforcer
from mgr.rpc.limits import (
    CALLER_BYTES_MAX,
    LOCAL_CONNECTION,
    OURS,
    VALUE_BYTES_MAX,
    StreamLimits,
)
from mgr.rpc.limits import (
    identity as counted_by,
)
from mgr.rpc.local_frames import ANSWER, REQUEST, FrameReader, FrameTooLargeError, Kind, Outcome
from mgr.rpc.manager import ManagerServicer
from mgr.rpc.status import status_of
from mgr.rpc.unread import UnreadAnswers
from mgr.rpc.v1.command_pb2 import DescribeCommandsRequest, ExecuteRequest
from mgr.rpc.v1.manager_pb2 import GetStatusRequest
from mgr.settings import Settings

IN_FLIGHT_MAX: Final = 1024
"""Unanswered requests of one connection; at this number nothing more is read from it."""
MODE: Final = 0o660
SERVED: Final = {
    Kind.EXECUTE: "CommandService/Execute",
    Kind.DESCRIBE: "CommandService/DescribeCommands",
    Kind.STATUS: "ManagerService/GetStatus",
}
"""What the socket serves: the methods of gRPC, by kind of request."""
CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group, as ``SO_PEERCRED`` returns them."""

log = logging.getLogger(__name__)

Answer = Callable[[Any, float | None, Caller], Awaitable[Message]]
"""Answers one request: its message, the moment at which its client stops waiting, its client."""


class LocalMethods:
    """What is served: for each kind of request the decoder of its message, and its answer."""

    def __init__(self) -> None:
        """Begin with none."""
        self._methods: dict[int, tuple[Callable[[bytes], Any], Answer]] = {}

    def add(self, kind: Kind, message: type[Message], answer: Answer) -> None:
        """Serve ``kind`` as its method of gRPC: with the limits of its messages."""
        self._methods[kind] = (lenient(message.FromString, f"{OURS}{SERVED[kind]}"), answer)

    async def answer(
        self, kind: int, data: bytes, deadline_s: float | None, caller: Caller
    ) -> Message:
        """Answer one request.

        Raises:
            MgrError: As raised by its method; ``InvalidArgumentError`` if there is none.

        """
        found = self._methods.get(kind)
        if found is None:
            raise InvalidArgumentError(f"requests of the kind {kind} are not served here")
        decode, answer = found
        message = decode(data)
        if type(message) is MalformedMessage:
            raise message.error
        return await answer(message, deadline_s, caller)


class LocalServer:
    """Listens on a unix socket. Requests run in tasks of the given group."""

    def __init__(
        self,
        methods: LocalMethods,
        clock: Clock,
        limits: StreamLimits,
        unread: UnreadAnswers,
        tasks: asyncio.TaskGroup | None,
    ) -> None:
        """Serve ``methods``; ``limits`` counts connections, ``unread`` what they do not read."""
        self.name = ""
        self.methods: Final = methods
        self.clock: Final = clock
        self.limits: Final = limits
        self.unread: Final = unread
        self.incomplete: Final[Counter[str]] = Counter()
        self._tasks = tasks
        self.connections: Final[set[Connection]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, settings: Settings) -> None:
        """Listen at ``unix_socket``, if it is set, for the user of this process and a group.

        Raises:
            CannotListenError: It cannot be bound; the message says why.

        """
        if not settings.unix_socket or self._tasks is None:
            return
        self.name = settings.id
        listening = bind(settings.unix_socket, settings.unix_socket_group)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self), sock=listening)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work``, which raises nothing, in a task."""
        if self._tasks is None:
            raise AssertionError("nothing listens without tasks")
        return self._tasks.create_task(work)

    async def close(self, grace_s: float) -> None:
        """Accept nothing any more, let what runs end within ``grace_s``, end the connections."""
        if self._server is None:
            return
        self._server.close()
        running = [task for each in self.connections for task in each.running.values()]
        if running:
            await asyncio.wait(running, timeout=grace_s)
        for connection in tuple(self.connections):
            connection.close()


class Connection(asyncio.Protocol):
    """One client. Its unanswered requests are cancelled when it goes away."""

    def __init__(self, server: LocalServer) -> None:
        """Made by the event loop for each client of ``server``."""
        self.running: Final[dict[int, asyncio.Task[None]]] = {}
        self._server = server
        self._reader = FrameReader(REQUEST, VALUE_BYTES_MAX)
        self._counted = contextlib.ExitStack()
        self._caller = Caller.anonymous()
        self._who = ""
        self._full = False
        self._asked_bytes = 0
        self._incomplete_bytes = 0
        self._unread_bytes = 0
        self._transport: asyncio.Transport

    # -- called by the event loop ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn who the client is, and count it."""
        self._transport = transport  # type: ignore[assignment]  # that of a stream socket
        self._caller = _caller_of(transport.get_extra_info("socket"))
        self._who = counted_by(self._caller)
        try:
            self._counted.enter_context(self._server.limits.counted(LOCAL_CONNECTION, self._caller))
        except OverloadedError as error:
            self._send(0, Outcome.STATUS, status_of(error).SerializeToString())
            self._transport.close()
        else:
            self._server.connections.add(self)
            self._send(0, Outcome.NAME, self._server.name.encode())

    def data_received(self, data: bytes) -> None:
        """Begin the requests that are complete."""
        if self._transport.is_closing():
            return
        try:
            for (number, kind, wait_ms), message in self._reader.feed(data):
                self._take(number, kind, wait_ms, message)
            self._count_incomplete()
        except FrameTooLargeError:
            self._refuse(TooLargeError(f"a message above {VALUE_BYTES_MAX} bytes"))
        except OverloadedError as error:
            self._refuse(error)

    def pause_writing(self) -> None:
        """Read nothing while the client does not take its answers."""
        self._full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._full = False
        self._count_unread(self._transport.get_write_buffer_size())
        self._read_on()

    def connection_lost(self, _error: Exception | None) -> None:
        """Cancel what the client does not wait for any more."""
        self._server.connections.discard(self)
        self._counted.close()
        self._count_unread(0)
        self._keep_incomplete(0)
        for task in tuple(self.running.values()):
            task.cancel()

    # -- inside ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection, also if its client does not take what was written."""
        if self._full:
            self._transport.abort()
        else:
            self._transport.close()

    def _take(self, number: int, kind: int, wait_ms: int, message: bytes) -> None:
        if kind == Kind.CANCEL:
            if task := self.running.get(number):
                task.cancel()
            return
        if number in self.running:
            error = InvalidArgumentError(f"request {number} is still open")
            self._send(number, Outcome.STATUS, status_of(error).SerializeToString())
            return
        deadline_s = self._server.clock.now() + wait_ms / 1e3 if wait_ms else None
        self._asked_bytes += len(message)
        work = self._run(number, kind, message, deadline_s)
        self.running[number] = self._server.run(work)
        if self._busy():
            self._transport.pause_reading()

    async def _run(self, number: int, kind: int, data: bytes, deadline_s: float | None) -> None:
        outcome = Outcome.STATUS
        try:
            answer = await self._server.methods.answer(kind, data, deadline_s, self._caller)
            outcome = Outcome.RESPONSE
        except MgrError as error:
            answer = status_of(error)
        except Exception as error:  # noqa: BLE001 - the edge: one request, not the worker
            answer = status_of(internal("local socket", error))
        finally:
            del self.running[number]
            self._asked_bytes -= len(data)
            self._read_on()
        self._send(number, outcome, answer.SerializeToString())

    def _read_on(self) -> None:
        if not self._full and not self._busy():
            self._transport.resume_reading()

    def _busy(self) -> bool:
        return len(self.running) >= IN_FLIGHT_MAX or self._asked_bytes >= CALLER_BYTES_MAX

    def _send(self, number: int, outcome: Outcome, message: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER.pack(len(message), number, outcome) + message)
            self._count_unread(self._transport.get_write_buffer_size())

    def _refuse(self, error: MgrError) -> None:
        self._send(0, Outcome.STATUS, status_of(error).SerializeToString())
        self.close()

    def _count_unread(self, size: int) -> None:
        self._server.unread.grow(self._caller, size - self._unread_bytes)
        self._unread_bytes = size

    def _count_incomplete(self) -> None:
        """Count what has arrived of an incomplete request.

        Raises:
            OverloadedError: The caller has too much of that, on all its connections.

        """
        self._keep_incomplete(self._reader.held_bytes)
        if self._server.incomplete[self._who] > CALLER_BYTES_MAX:
            self._server.unread.limits.reached("incomplete", self._who)
            raise OverloadedError(
                f"incomplete requests of {self._who} are too large together: send them one by one"
            )

    def _keep_incomplete(self, size: int) -> None:
        counted = self._server.incomplete
        counted[self._who] += size - self._incomplete_bytes
        self._incomplete_bytes = size
        if not counted[self._who]:
            del counted[self._who]


def methods_of(
    commands: CommandServicer,
    manager: ManagerServicer,
    enforcer: GateEnforcer,
    unread: UnreadAnswers,
) -> LocalMethods:
    """Return what the socket serves, gated as the same methods of gRPC are."""
    describe = enforcer.behaviour(
        f"{OURS}{SERVED[Kind.DESCRIBE]}", commands.DescribeCommands, reads=False
    )

    async def execute(message: Any, deadline_s: float | None, caller: Caller) -> Message:
        return await commands.execute(message, deadline_s=deadline_s, caller=caller)

    def counted(behaviour: Callable[..., Awaitable[Message]]) -> Answer:
        """Return how ``behaviour``, which looks at its message only, answers a client that reads.

        A command's answers are counted where all of them are.
        """

        async def answer(message: Any, _deadline_s: float | None, caller: Caller) -> Message:
            await unread.wait_room(caller)
            found = await behaviour(message, None)
            unread.check_answer(caller)
            return found

        return answer

    made = LocalMethods()
    made.add(Kind.EXECUTE, ExecuteRequest, execute)
    made.add(Kind.DESCRIBE, DescribeCommandsRequest, counted(describe))
    made.add(Kind.STATUS, GetStatusRequest, counted(manager.GetStatus))
    return made


def bind(path: str, group: str) -> socket.socket:
    """Bind a socket at ``path`` with the mode 0660, of ``group`` unless that is empty.

    A socket that a worker left when it was killed is replaced.

    Raises:
        CannotListenError: It cannot be bound; the message says why.

    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        group_id = grp.getgrnam(group).gr_gid if group else -1
        _remove_stale(path)
        # The mode that the file is created with: nobody else connects before it is as it should be.
        os.fchmod(listening.fileno(), stat.S_IRUSR | stat.S_IWUSR)
        listening.bind(path)
        os.chown(path, -1, group_id)
        Path(path).chmod(MODE)
    except KeyError:
        listening.close()
        raise CannotListenError(f"unix_socket_group: there is no group {group!r}") from None
    except OSError as error:
        listening.close()
        why = error.strerror or str(error)
        raise CannotListenError(f"unix_socket: cannot listen on {path}: {why}") from None
    return listening


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(0, "there is a file of this name")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
    raise OSError(0, "another process listens there")


def _caller_of(connected: Any) -> Caller:
    found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, _ = CREDENTIALS.unpack(found)
    return Caller(str(uid), "", identity.Kind.UID)
