"""A log whose reader has stopped holds nobody up, and what it loses is counted."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from mgr import log_writer
from mgr.log_writer import DIRECT_BYTES_MAX, LogWriter
from tests.support.tree import ROOT

LINE = "x" * 99 + "\n"


@pytest.fixture
def pipe():
    """A pipe that holds 4096 bytes, and a writer to it."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    made = LogWriter(writer, lambda count: f"dropped {count}\n")
    yield made, reader, writer
    for fd in (reader, writer):
        os.close(fd)


def read_until(reader, end):
    """Everything up to ``end``; the suite's limit is the limit."""
    found = b""
    while not found.endswith(end.encode()):
        found += os.read(reader, 1 << 16)
    return found.decode()


def test_a_line_is_out_before_the_call_returns(pipe):
    """Whatever the process dies of next; no thread is needed for it."""
    writer, reader, _ = pipe
    threads = threading.active_count()

    writer.write("one\n")

    assert os.read(reader, 100) == b"one\n"
    assert writer.flush(0)
    assert threading.active_count() == threads


def test_no_call_waits_for_a_reader_that_has_stopped_and_the_lines_keep_their_order(pipe):
    """They come out once it reads again."""
    writer, reader, _ = pipe
    lines = [f"{number:04} {LINE}" for number in range(400)]

    for line in lines:
        writer.write(line)
    late = writer.flush(0.01)

    assert not late
    assert read_until(reader, lines[-1]) == "".join(lines)
    assert writer.flush(10)
    writer.write("after\n")
    assert read_until(reader, "after\n") == "after\n"


def test_what_does_not_fit_is_dropped_and_counted(pipe, monkeypatch):
    """The newest: what led to the trouble is kept."""
    monkeypatch.setattr(log_writer, "QUEUE_BYTES_MAX", 1000)
    writer, reader, _ = pipe

    for number in range(200):
        writer.write(f"{number:04} {LINE}")
    found = ""
    while "dropped" not in found:
        found += os.read(reader, 1 << 16).decode()
    kept = [line for line in found.splitlines() if not line.startswith("dropped")]

    assert [int(line[:4]) for line in kept] == list(range(len(kept)))
    assert found.splitlines()[-1] == f"dropped {200 - len(kept)}"
    writer.write("after\n")
    assert read_until(reader, "after\n") == "after\n"


def test_a_line_longer_than_a_pipe_takes_at_once_is_written_whole(pipe):
    """By the thread, and what comes after it stays behind it."""
    writer, reader, _ = pipe

    writer.write("y" * (3 * DIRECT_BYTES_MAX) + "\n")
    writer.write("after\n")

    assert len(read_until(reader, "after\n")) == 3 * DIRECT_BYTES_MAX + 1 + len("after\n")


def test_a_reader_that_is_gone_is_no_error(pipe):
    """There is nowhere to report it."""
    writer, reader, _ = pipe
    os.dup2(os.open(os.devnull, os.O_RDONLY), reader)

    writer.write("one\n")
    writer.write(LINE * 100)

    assert writer.flush(10)


CHATTY = """
import logging, os, sys
from mgr import logs
logs.set_up(level="info", form={form!r}, manager="a", component="guard", never_block=True)
log = logging.getLogger("mgr.x")
for number in range(2000):
    log.info("line", extra={{"number": number, "text": "x" * 80}})
if os.fork() == 0:
    os._exit(0 if not logging.getLogger().handlers[0]._writer._forked - 1 else 1)
print("not held up", os.waitpid(-1, 0)[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_process_goes_on_while_nobody_reads_its_log(form):
    """Its standard error is a pipe that is full; a child of it writes on its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHATTY.format(form=form)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == b"not held up 0\n"
        process.stdin.close()
        lines = process.stderr.read().splitlines()

    assert process.returncode == 0
    assert len(lines) == 2000
