"""The local socket: commands of programs of this host, and what becomes of them elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat

import pytest
from google.rpc import status_pb2

from mgr.cli import this_host
from mgr.cli.command_cache import load
from mgr.cli.invocation import Invocation
from mgr.client.blocking import Client
from mgr.client.local_socket import LocalSocket, NoAnswerError
from mgr.errors import (
    CannotListenError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotActiveError,
    OutcomeUnknownError,
    OverloadedError,
    TooLargeError,
    UnreachableError,
)
from mgr.rpc import limits, local_server, unread
from mgr.rpc.error_info import info_in
from mgr.rpc.limits import LOCAL_CONNECTION, VALUE_BYTES_MAX
from mgr.rpc.local_frames import ANSWER, REQUEST, FrameReader, FrameTooLargeError, Kind, Outcome
from mgr.rpc.local_server import bind
from mgr.rpc.v1.command_pb2 import ExecuteRequest
from mgr.settings import Settings
from tests.integration.rpc.cluster import KEYS, cluster, until
from tests.support.callers import CAPS, records

OWN = f"uid:{os.getuid()}"


@contextlib.asynccontextmanager
async def managers(path):
    """Manager ``a`` has a socket at ``path``, ``b`` has none; ``a`` leads."""
    async with asyncio.TaskGroup() as tasks, cluster("b") as pretended:
        ours = pretended.managers["a"] = type(pretended["b"])("a", pretended["b"].ledger)
        await ours.start(unix_socket=str(path), tasks=tasks)
        try:
            pretended.promote("a", 7)
            yield pretended
        finally:
            await ours.server.close(0)


@pytest.fixture
def path(tmp_path_factory):
    """Short: the kernel takes 107 characters."""
    return tmp_path_factory.mktemp("s") / "mgrd.sock"


def executed(pretended, path, *words, **arguments):
    """Run a command by a blocking client in a thread of its own."""

    def run():
        with Client(pretended.hosts, local=str(path), timeout_s=20) as client:
            return client.execute(words, **arguments)

    return asyncio.to_thread(run)


async def test_a_command_is_answered_by_the_manager_of_this_host(path):
    """And that knows which user sent it: from the kernel, not from the client."""
    async with managers(path) as pretended:
        answer = await executed(pretended, path, "echo", "ahoy")
        [request] = pretended["a"].role.requests

    assert (answer.retval, answer.text, answer.term) == (0, "ahoy", 7)
    assert [each.entry for each in request.caller.identities] == [OWN]


async def test_a_standby_names_the_active_and_the_command_runs_there(path):
    """With the same request id, once."""
    async with managers(path) as pretended:
        pretended.promote("b", 8)
        answer = await executed(pretended, path, "count", request_id="r-1")

        assert answer.text == "1"
        assert [each.request_id for each in pretended["b"].role.requests] == ["r-1"]


async def test_a_command_whose_connection_breaks_goes_on_elsewhere_and_is_applied_once(path):
    """The client cannot know whether it ran; the next active does."""
    async with managers(path) as pretended:
        lost = pretended["a"].role
        lost.hold.clear()
        asked = asyncio.ensure_future(executed(pretended, path, "count", request_id="r-1"))  # noqa: TID251 - awaited below
        await until(lambda: lost.requests)
        pretended.promote("b", 8)
        await pretended["a"].server.close(0)
        answer = await asked

        assert answer.text == "1"
        assert pretended["b"].ledger.count == 1
        assert pretended["b"].role.requests[0].age_s > 0, "it does not look like a first attempt"


async def test_without_a_socket_commands_go_over_grpc(path):
    """As before."""
    async with managers(path) as pretended:
        answer = await executed(pretended, path.with_name("other.sock"), "echo", "ahoy")

    assert answer.text == "ahoy"


async def test_a_frozen_manager_is_left_once_another_one_leads(path):
    """The request may have run: the caller is told so."""
    async with managers(path) as pretended:
        pretended["a"].role.hold.clear()
        manager, asked = LocalSocket(str(path)), []

        def superseded(name):
            asked.append(name)
            return len(asked) > 1

        request = ExecuteRequest(words=["echo", "x"])
        with pytest.raises(NoAnswerError, match="another manager leads") as caught:
            await asyncio.to_thread(manager.execute, request, timeout_s=20, superseded=superseded)

    assert asked == ["a", "a"]
    assert type(caught.value.error) is OutcomeUnknownError


async def test_a_command_given_up_is_cancelled(path):
    """Its connection is closed, which is how the manager learns it."""
    async with managers(path) as pretended:
        manager = LocalSocket(str(path))
        with pytest.raises(NoAnswerError) as caught:
            await asyncio.to_thread(
                manager.execute, ExecuteRequest(words=["wait", "w"]), timeout_s=0.3
            )
        await until(lambda: pretended["a"].role.cancelled == ["w"])

    assert type(caught.value.error) is DeadlineExceededError


async def test_idle_connections_of_a_manager_that_ended_are_replaced(path):
    """Nothing was sent on them: no command is of unknown outcome because of that."""
    async with managers(path) as pretended:
        with contextlib.closing(LocalSocket(str(path))) as manager:
            request = ExecuteRequest(words=["echo", "x"])
            await asyncio.to_thread(manager.execute, request, timeout_s=20)
            await pretended["a"].server.close(0)
            with pytest.raises(NoAnswerError) as caught:
                await asyncio.to_thread(manager.execute, request, timeout_s=20)

    assert type(caught.value.error) is UnreachableError


async def test_describe_and_status_are_served_too(path):
    """What a command line needs beside commands; a standby describes nothing."""
    async with managers(path) as pretended:
        with contextlib.closing(LocalSocket(str(path))) as manager:
            found = await asyncio.to_thread(manager.describe, "", timeout_s=20)
            same = await asyncio.to_thread(manager.describe, found.etag, timeout_s=20)
            status = await asyncio.to_thread(manager.status, timeout_s=20)
            pretended.promote("b", 8)
            with pytest.raises(NotActiveError):
                await asyncio.to_thread(manager.describe, "", timeout_s=20)

    assert "echo name=text,type=CephString" in [each.signature for each in found.commands]
    assert (same.etag, len(same.commands)) == (found.etag, 0)
    assert (status.name, status.active.name) == ("a", "a")


@pytest.mark.parametrize("name", CAPS)
async def test_whoever_may_connect_may_ask_who_leads_and_what_commands_there_are(path, name):
    """As ``docs/reference/access.md`` says; commands are checked by what they need, as by gRPC."""
    async with managers(path) as pretended:
        granted = {KEYS.access_of(OWN): CAPS[name]} if CAPS[name] else {}
        pretended["a"].view.rights.put({**records(), **granted})
        with contextlib.closing(LocalSocket(str(path))) as manager:
            assert (await asyncio.to_thread(manager.describe, "", timeout_s=20)).commands
            assert (await asyncio.to_thread(manager.status, timeout_s=20)).name == "a"


async def test_what_is_malformed_is_refused(path):
    """An unknown kind, a message above the limit, and a header that lies."""
    async with managers(path):
        reader, writer = await asyncio.open_unix_connection(path)
        assert await frame(reader) == (0, Outcome.NAME, b"a")

        writer.write(REQUEST.pack(0, 5, 99, 0))
        number, outcome, message = await frame(reader)
        assert (number, outcome) == (5, Outcome.STATUS)
        assert reason(message) == InvalidArgumentError.reason

        many = ExecuteRequest(words=["a"] * 10_000).SerializeToString()
        for message, expected in ((b"\xff", InvalidArgumentError), (many, TooLargeError)):
            writer.write(REQUEST.pack(len(message), 6, Kind.EXECUTE, 0) + message)
            number, outcome, answer = await frame(reader)
            assert (number, outcome, reason(answer)) == (6, Outcome.STATUS, expected.reason)

        writer.write(REQUEST.pack(VALUE_BYTES_MAX + 1, 7, Kind.EXECUTE, 0))
        number, outcome, message = await frame(reader)
        assert (number, outcome, reason(message)) == (0, Outcome.STATUS, TooLargeError.reason)
        assert await reader.read() == b"", "nothing that follows can be found"
        writer.close()
        await writer.wait_closed()


async def frame(reader):
    length, number, outcome = ANSWER.unpack(await reader.readexactly(ANSWER.size))
    return number, outcome, await reader.readexactly(length)


def reason(message):
    return info_in(status_pb2.Status.FromString(message)).reason


async def test_a_client_that_reads_nothing_stops_being_read(path):
    """Neither its answers nor its requests pile up in the manager."""
    async with managers(path) as pretended:
        reader, writer = await asyncio.open_unix_connection(path)
        await frame(reader)
        reader._transport.pause_reading()
        message = ExecuteRequest(words=["echo", "x" * 60_000]).SerializeToString()
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                while sent < 2000:
                    writer.write(REQUEST.pack(len(message), sent + 1, Kind.EXECUTE, 0) + message)
                    await writer.drain()
                    sent += 1
        writer.transport.abort()

        assert sent < 200
        assert len(pretended["a"].role.requests) < 200


@contextlib.asynccontextmanager
async def connecting(path):
    """Connect again and again; all connections end with the block."""
    opened = []

    async def connect():
        # Kept: a stream that nothing refers to ends its connection.
        opened.append(await asyncio.open_unix_connection(path))
        return opened[-1]

    try:
        yield connect
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def test_connections_of_one_user_are_limited(path, monkeypatch):
    """They count among the streams of all clients: one user must not take them all."""
    assert limits.CALLER_STREAMS[LOCAL_CONNECTION] < Settings(id="a").grpc_streams_max
    monkeypatch.setitem(limits.CALLER_STREAMS, LOCAL_CONNECTION, 3)
    async with managers(path), connecting(path) as connect:
        for number in range(4):
            reader, _ = await connect()
            _, outcome, message = await frame(reader)
            assert outcome == (Outcome.STATUS if number == 3 else Outcome.NAME)
        assert reason(message) == OverloadedError.reason
        assert await reader.read() == b""


async def test_incomplete_requests_of_one_user_are_limited(path, monkeypatch):
    """However many connections they are spread over; afterwards nothing is counted any more."""
    monkeypatch.setattr(local_server, "CALLER_BYTES_MAX", 300_000)
    async with managers(path) as pretended:
        local = pretended["a"].server._local
        async with connecting(path) as connect:
            for number in range(4):
                reader, writer = await connect()
                await frame(reader)
                writer.write(REQUEST.pack(200_000, 1, Kind.EXECUTE, 0) + b"x" * 90_000)
                if number < 3:
                    sent = (number + 1) * (REQUEST.size + 90_000)
                    await until(lambda: sum(local.incomplete.values()) == sent)  # noqa: B023 - now
            number, outcome, message = await frame(reader)
            assert (number, outcome, reason(message)) == (0, Outcome.STATUS, OverloadedError.reason)
        await until(lambda: not local.incomplete)
        assert (await executed(pretended, path, "echo", "ahoy")).text == "ahoy"


async def test_answers_that_one_user_does_not_read_are_limited(path, monkeypatch):
    """However many connections they are spread over: the next request waits, and is refused."""
    monkeypatch.setattr(unread, "CALLER_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(unread, "ROOM_S", 0.2)
    message = ExecuteRequest(words=["echo", "x" * 1_000_000]).SerializeToString()
    async with managers(path) as pretended:
        kept = pretended["a"].server._local.unread
        async with connecting(path) as connect:
            for _ in range(12):
                reader, writer = await connect()
                await frame(reader)
                reader._transport.pause_reading()
                writer.write(REQUEST.pack(len(message), 1, Kind.EXECUTE, 0) + message)
                await writer.drain()
            await until(kept.limits.recent)
            assert 1 << 20 < kept.total_bytes <= 4 << 20
            assert len(pretended["a"].role.requests) < 6
        await until(lambda: kept.total_bytes == 0)
        assert (await executed(pretended, path, "echo", "ahoy")).text == "ahoy"


async def test_mgrctl_uses_it_for_plain_commands(path, tmp_path, capsys):
    """What polls, or is not known, is left to the general way."""
    table = tmp_path / "table.json"
    async with managers(path) as pretended:

        async def ran(*words, **others):
            asked = Invocation(words=words, hosts="", table=table, **{"named": False, **others})
            environment = {"MGR_UNIX_SOCKET": str(path)}
            return await asyncio.to_thread(this_host.execute, asked, environment)

        assert await ran("echo", "ahoy") == 0, "it has asked for the commands itself"
        assert load(table).etag == "etag-a"
        assert await ran("tick") is None
        assert await ran("no", "such") is None
        assert await ran("echo", "ahoy", named=True) is None, "the user means other managers"
        pretended.promote("b", 8)
        assert await ran("echo", "ahoy") is None

    assert capsys.readouterr().out == "ahoy\n"


def test_which_socket_mgrctl_uses(path):
    """One that exists; an empty name turns it off."""
    assert this_host.socket_of({"MGR_UNIX_SOCKET": str(path)}) == ""
    with bind(str(path), ""):
        assert this_host.socket_of({"MGR_UNIX_SOCKET": str(path)}) == str(path)
    assert this_host.socket_of({"MGR_UNIX_SOCKET": ""}) == ""


def test_only_its_user_and_group_may_connect(path):
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        with bind(str(path), ""):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


def test_a_socket_that_a_killed_worker_left_is_replaced(path):
    """Nobody listens there any more."""
    bind(str(path), "").close()

    with bind(str(path), "") as listening:
        listening.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


@pytest.mark.parametrize("there", ["a listener", "a file"])
def test_what_belongs_to_somebody_else_is_left_alone(path, there):
    """Another manager's socket, or a file."""
    with contextlib.ExitStack() as others:
        if there == "a file":
            path.write_text("mine")
        else:
            others.enter_context(bind(str(path), "")).listen()
        with pytest.raises(CannotListenError, match="unix_socket: cannot listen"):
            bind(str(path), "")
    assert path.exists()


def test_an_unknown_group_is_named(path):
    """And nothing listens, which would be open to another group."""
    with pytest.raises(CannotListenError, match="there is no group 'no-such-group'"):
        bind(str(path), "no-such-group")
    assert not path.exists()


def test_frames_are_found_however_they_are_cut():
    """One byte at a time, or all at once."""
    data = b"".join(
        REQUEST.pack(len(message), number, Kind.EXECUTE, 9) + message
        for number, message in enumerate((b"", b"abc", b"x" * 300))
    )
    expected = [((0, 1, 9), b""), ((1, 1, 9), b"abc"), ((2, 1, 9), b"x" * 300)]

    assert list(FrameReader(REQUEST, 300).feed(data)) == expected
    reader, found = FrameReader(REQUEST, 300), []
    for at in range(len(data)):
        found += reader.feed(data[at : at + 1])
    assert found == expected


def test_a_frame_above_the_limit_is_refused_before_it_is_read():
    """Its header suffices."""
    with pytest.raises(FrameTooLargeError):
        list(FrameReader(REQUEST, 10).feed(REQUEST.pack(11, 1, 1, 0)))
