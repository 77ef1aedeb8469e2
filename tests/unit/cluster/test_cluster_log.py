"""The cluster log: the last lines, and everyone who follows them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from mgr.cluster.log import ClusterLog, Filter, LinesDropped, Priority

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def log(**fields):
    return ClusterLog(now=lambda: NOON, **fields)


def messages(entries):
    return [entry.message for entry in entries]


def test_lines_are_numbered_and_the_oldest_make_room():
    """A ring: whoever asks late sees the last lines."""
    kept = log(capacity=3)
    for number in range(5):
        kept.add(str(number), name="mgr.a")

    assert [(entry.sequence, entry.message) for entry in kept.last(10)] == [
        (3, "2"),
        (4, "3"),
        (5, "4"),
    ]
    assert messages(kept.last(1)) == ["4"]
    assert kept.last(0) == ()


def test_a_line_reads_like_cephs():
    """Time, who, how grave, what."""
    entry = log().add("hello", name="mgr.a", priority=Priority.WARNING)

    assert str(entry) == "2026-01-01T12:00:00+00:00 mgr.a [WRN] hello"


def test_a_line_can_always_be_sent():
    """A module may log the name of a file, which need not be UTF-8."""
    entry = ClusterLog().add("no file \udcff", name="mgr.a")

    assert entry.message == "no file \\udcff"


def test_lines_are_chosen_by_priority_and_channel():
    """At least so grave; one channel or all."""
    kept = log()
    kept.add("d", name="x", priority=Priority.DEBUG)
    kept.add("i", name="x")
    kept.add("e", name="x", priority=Priority.ERROR, channel="audit")

    assert messages(kept.last(9, Filter(Priority.INFO))) == ["i", "e"]
    assert messages(kept.last(9, Filter(channel="audit"))) == ["e"]
    assert messages(kept.last(1, Filter(channel="cluster"))) == ["i"]


async def test_a_reader_gets_the_past_and_then_every_new_line():
    """None is missing in between, none comes twice."""
    kept = log()
    kept.add("before", name="x")
    with kept.subscribe(past=5) as reader:
        kept.add("after", name="x")
        kept.add("later", name="x")

        assert messages(reader.past) == ["before"]
        assert [(await reader.next()).message for _ in range(2)] == ["after", "later"]


async def test_a_reader_waits_for_what_it_wants():
    """Other lines do not wake it."""
    kept = log()
    with kept.subscribe(Filter(Priority.ERROR)) as reader:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(reader.next())
            await asyncio.sleep(0)
            kept.add("calm", name="x")
            kept.add("alarm", name="x", priority=Priority.ERROR)

    assert waiting.result().message == "alarm"


async def test_a_slow_reader_loses_the_oldest_lines_and_learns_how_many():
    """It never makes the manager wait or grow."""
    kept = log()
    with kept.subscribe(queue_max=2) as slow, kept.subscribe() as other:
        for number in range(5):
            kept.add(str(number), name="x")

        assert await slow.next() == LinesDropped(3)
        assert [(await slow.next()).message for _ in range(2)] == ["3", "4"]
        assert (await other.next()).message == "0"


def test_a_closed_reader_is_forgotten():
    """Whoever hung up costs nothing."""
    kept = log()
    reader = kept.subscribe()
    reader.close()
    reader.close()
    kept.add("x", name="x")

    assert not reader._queue


def test_a_listener_gets_every_line_until_it_is_removed():
    """Modules that asked for the log."""
    cluster_log, received = log(), []
    forget = cluster_log.listen(received.append)
    cluster_log.add("1", name="x")
    forget()
    cluster_log.add("2", name="x")

    assert messages(received) == ["1"]
