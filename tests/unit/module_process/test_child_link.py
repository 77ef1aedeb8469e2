"""The module's end of its sockets, on a socket pair without a worker."""

import queue
import socket
import threading

import pytest

from mgr.errors import OutcomeUnknownError
from mgr.module_process import child_link
from mgr.module_process.child_link import ChildLine, ChildLink, SharedLine
from mgr.module_process.messages import Kind, MessageBuffer, encode

THREADS = 4
LIMIT_S = 20


@pytest.fixture
def pair():
    """Two ends of a line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def link():
    """A link on which notes are sent."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        made = ChildLink(theirs)
        made.worker = ours
        yield made


def job(number, after=0, payload=b""):
    """A call of the worker."""
    return encode(Kind.CALL, number, ("remote", ("method", payload)), after)


class Threads:
    """Threads that wait for jobs; each answers the first that it gets once ``go`` lets it."""

    def __init__(self, line, go, count):
        def serve():
            message = line.next_job()
            go.wait(LIMIT_S)
            line.send(Kind.RESULT, message.number, len(message.body[1][1]))
            self._ended.put(message.number)

        self._ended = queue.SimpleQueue()
        for _ in range(count):
            threading.Thread(target=serve, daemon=True).start()

    def ended(self, count):
        """The jobs of the next so many threads that end, in that order."""
        return [self._ended.get(timeout=LIMIT_S) for _ in range(count)]


def answers(sock, count):
    """The next answers by number."""
    found, buffer = {}, MessageBuffer()
    sock.settimeout(LIMIT_S)
    while len(found) < count:
        found |= {each.number: each.body for each in buffer.feed(sock.recv(1 << 16))}
    return found


@pytest.mark.parametrize("at_once", [True, False])
def test_calls_run_at_the_same_time_each_on_one_thread(pair, link, at_once):
    """Whether they arrive one by one or all in one piece."""
    ours, theirs = pair
    barrier = threading.Barrier(THREADS)
    threads = Threads(SharedLine(link, theirs), barrier, THREADS)

    calls = [job(number) for number in range(THREADS)]
    for each in [b"".join(calls)] if at_once else calls:
        ours.sendall(each)

    assert answers(ours, THREADS) == dict.fromkeys(range(THREADS), 0)
    assert sorted(threads.ended(THREADS)) == list(range(THREADS))


def test_a_call_that_arrives_in_pieces_is_read_by_one_thread(pair, link):
    """The others are told of nothing until it is complete, and of the next one then."""
    ours, theirs = pair
    go = threading.Event()
    go.set()
    threads = Threads(SharedLine(link, theirs), go, 2)
    large = job(1, payload=bytes(1 << 21))

    for piece in (large[:3], large[3:100], large[100:] + job(2)):
        ours.sendall(piece)

    assert answers(ours, 2) == {1: 1 << 21, 2: 0}
    assert sorted(threads.ended(2)) == [1, 2]


def test_a_call_begins_after_what_was_noted_before_it(pair, link):
    """A method reads what the worker has stored before it called."""
    ours, theirs = pair
    noted = []
    go = threading.Event()
    go.set()
    threads = Threads(SharedLine(link, theirs), go, 2)

    ours.sendall(job(1, after=1) + job(2))
    assert threads.ended(1) == [2]
    reader = threading.Thread(target=link.read, args=({}, {"note": noted.append}), daemon=True)
    reader.start()
    link.worker.sendall(encode(Kind.NOTE, 0, ("note", ("said",))))

    assert threads.ended(1) == [1]
    assert noted == ["said"]
    link.worker.close()
    reader.join(LIMIT_S)


def test_an_answer_that_is_late_is_not_the_next_ones(pair, link, monkeypatch):
    """Whoever waits too long is told so, and what the worker calls meanwhile is kept."""
    ours, theirs = pair
    line = ChildLine(link, theirs)
    monkeypatch.setattr(child_link, "REPLY_S", 0.01)

    with pytest.raises(OutcomeUnknownError, match="first: no answer within"):
        line.call("first")
    monkeypatch.undo()
    for kind, number, body in (
        (Kind.RESULT, 1, "late"),
        (Kind.CALL, 7, ("command", ())),
        (Kind.RESULT, 2, "right"),
    ):
        ours.sendall(encode(kind, number, body))

    assert line.call("second") == "right"
    assert line.next_job().number == 7
