"""The declarations of many modules, some of which are never read."""

import asyncio

import pytest

from mgr.host import declarations_reader
from mgr.host.declarations_reader import PROCESSES_MAX, SLACK_S, read_all, time_left_s


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(declarations_reader, "TURN_S", 0.01)


async def test_modules_that_never_finish_keep_no_other_one_from_being_read():
    """However many they are."""
    well_read = asyncio.Event()

    async def declare(name):
        if name == "well":
            well_read.set()
        await well_read.wait()
        return name.upper()

    names = [*(f"hangs{number}" for number in range(4 * PROCESSES_MAX)), "well"]

    assert await read_all(names, declare, 600.0) == [each.upper() for each in names]


async def test_all_of_them_end_in_time(monkeypatch):
    """What was begun is ended, and nothing more is begun: their manager says so, and starts."""
    monkeypatch.setattr(declarations_reader, "TURN_S", 600.0)
    begun, ended = [], []

    async def declare(name):
        begun.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    assert await read_all(range(PROCESSES_MAX + 1), declare, 0.05) == [None] * (PROCESSES_MAX + 1)
    assert PROCESSES_MAX not in begun
    assert sorted(ended) == sorted(begun)


def test_the_time_counts_from_the_start_of_the_worker():
    """Its guard counts so, too; a part of it is always left."""
    assert time_left_s(20.0, 4.0) == 16.0 + SLACK_S
    assert time_left_s(20.0, 90.0) == 5.0
