"""A file, and syslog."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

import pytest

from mgr.audit.sinks import FileSink, SyslogSink


def test_a_file_is_its_owners_only(tmp_path):
    """Also if it was there with other rights."""
    path = tmp_path / "audit"
    path.touch(0o644)

    FileSink(str(path), durable=True).write(["one", "two"])

    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_moved_away_is_made_again(tmp_path):
    """As logrotate does; nobody has to send a signal."""
    path = tmp_path / "audit"
    sink = FileSink(str(path), durable=False)
    sink.write(["one"])
    path.rename(tmp_path / "audit.1")
    sink.write(["two"])

    assert (tmp_path / "audit.1").read_text() == "one\n"
    assert path.read_text() == "two\n"


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, kind):
    """A named pipe that nobody reads would block for ever."""
    path = tmp_path / "audit"
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to(tmp_path / "other"),
    }[kind]()

    with pytest.raises(OSError):  # noqa: PT011 - each has another errno
        FileSink(str(path), durable=False).write(["one"])


def test_a_line_that_was_torn_does_not_spoil_the_next_one(tmp_path, monkeypatch):
    """The disk was full within a line; then there was room again."""
    path = tmp_path / "audit"
    sink = FileSink(str(path), durable=False)
    sink.write(["one"])
    write, calls = os.write, []

    def full(fd, data):
        calls.append(data)
        if len(calls) == 1:
            return write(fd, bytes(data)[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="space"):
        sink.write(["two"])
    monkeypatch.undo()
    sink.write(["two"])

    assert path.read_text().splitlines() == ["one", "tw", "two"]


def test_syslog_gets_one_message_a_line(tmp_path):
    """At a socket as journald has it."""
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        with contextlib.closing(SyslogSink(str(path))) as sink:
            sink.write(['{"a":1}', '{"b":2}'])
        found = [server.recv(1000).decode() for _ in range(2)]

    assert [line.partition("mgrd-audit: ")[2] for line in found] == ['{"a":1}', '{"b":2}']


def test_a_syslog_that_is_away_is_an_error_and_found_again(tmp_path):
    """Not a traceback on stderr and a lost record."""
    path = tmp_path / "log"
    sink = SyslogSink(str(path))
    with pytest.raises(OSError):  # noqa: PT011 - the system's
        sink.write(["one"])

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        sink.write(["two"])
        assert server.recv(1000).endswith(b"two")
    sink.close()
