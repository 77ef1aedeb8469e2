"""Reports of crashes: each is posted once, and none stands in the way of another."""

from __future__ import annotations

import asyncio
import errno
import json
import logging

import pytest

from mgr.agent.crashes import POSTED, Crashes
from mgr.client.messages import Answer
from mgr.errors import (
    InvalidArgumentError,
    ModuleNotEnabledError,
    UnknownCommandError,
    UnreachableError,
)


class Desk:
    """Takes posts, and answers by the crash's id: with 0 by default."""

    def __init__(self):
        self.posted = []
        self.answers = {}

    async def __call__(self, meta):
        ident = json.loads(meta)["crash_id"]
        self.posted.append(ident)
        answer = self.answers.get(ident, 0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer, b"", "words", 1)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "crashes"


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def crashes(folder, desk):
    return Crashes(folder, desk)


def crashed(folder, *names, done=True):
    for name in names:
        report = folder / name
        report.mkdir(parents=True)
        (report / "meta").write_text(json.dumps({"crash_id": name}))
        if done:
            (report / "done").touch()


def aside(folder):
    return sorted(each.name for each in (folder / POSTED).iterdir())


async def test_complete_crashes_are_posted_once_and_put_aside(folder, desk, crashes):
    """One that is still being written waits."""
    crashed(folder, "1", "2")
    crashed(folder, "3", done=False)

    assert await crashes.post_all() == 2
    assert await crashes.post_all() == 0

    assert desk.posted == ["1", "2"]
    assert aside(folder) == ["1", "2"]
    assert (folder / "3").exists()


async def test_crashes_wait_for_a_manager(folder, desk, crashes):
    """While no manager answers, each run tries one report, and everything stays."""
    crashed(folder, "1", "2")
    desk.answers = {"1": UnreachableError("nobody"), "2": UnreachableError("nobody")}

    assert await crashes.post_all() == 0
    assert len(desk.posted) == 1
    assert not (folder / POSTED).exists()
    desk.answers.clear()
    assert await crashes.post_all() == 2


@pytest.mark.parametrize("refused", [-errno.EINVAL, InvalidArgumentError("no UTF-8")])
async def test_what_is_malformed_does_not_come_again(folder, desk, crashes, caplog, refused):
    """It is malformed tomorrow as well."""
    crashed(folder, "1", "2")
    desk.answers["1"] = refused

    assert await crashes.post_all() == 1
    assert await crashes.post_all() == 0

    assert desk.posted == ["1", "2"]
    assert aside(folder) == ["1", "2"]
    assert [each.report for each in caplog.records if each.levelno == logging.ERROR] == ["1"]


@pytest.mark.parametrize(
    "refused",
    [-errno.EOPNOTSUPP, ModuleNotEnabledError("crash is off"), UnknownCommandError("no command")],
)
async def test_what_is_refused_for_another_reason_is_kept_for_later(
    folder, desk, crashes, caplog, refused
):
    """The module that takes reports may be disabled for now; that is logged once."""
    crashed(folder, "1", "2")
    desk.answers = {"1": refused, "2": refused}

    for _ in range(6):
        assert await crashes.post_all() == 0
    assert len(desk.posted) == 6
    assert not (folder / POSTED).exists()
    assert len(caplog.records) == 1
    desk.answers.clear()

    assert await crashes.post_all() == 2
    assert aside(folder) == ["1", "2"]


async def test_one_that_is_refused_again_and_again_blocks_none(folder, desk, crashes):
    """Those that were tried less often come first."""
    crashed(folder, "1", "2", "3")
    desk.answers["1"] = -errno.EIO

    assert await crashes.post_all() == 0
    assert await crashes.post_all() == 2

    assert desk.posted == ["1", "2", "3", "1"]
    assert aside(folder) == ["2", "3"]


async def test_one_that_cannot_be_moved_is_not_posted_twice_and_blocks_none(
    folder, desk, crashes, caplog
):
    """It is logged once, and moved as soon as that can be done."""
    crashed(folder, "1", "2")
    in_the_way = folder / POSTED / "1"
    in_the_way.mkdir(parents=True)
    (in_the_way / "meta").touch()

    assert await crashes.post_all() == 2
    assert await crashes.post_all() == 0
    crashed(folder, "3")
    assert await crashes.post_all() == 1

    assert desk.posted == ["1", "2", "3"]
    assert [each.report for each in caplog.records] == ["1"]
    (in_the_way / "meta").unlink()
    assert await crashes.post_all() == 0
    assert aside(folder) == ["1", "2", "3"]
    assert not (folder / "1").exists()


async def test_many_that_cannot_be_moved_leave_room_for_others(folder, desk, crashes, monkeypatch):
    """What is posted does not count as waiting."""
    monkeypatch.setattr("mgr.agent.crashes.AT_ONCE_MAX", 2)
    crashed(folder, "1", "2", "3")
    folder.joinpath(POSTED).write_text("no folder")

    assert await crashes.post_all() == 2
    assert await crashes.post_all() == 1

    assert desk.posted == ["1", "2", "3"]


async def test_one_that_cannot_be_read_is_logged_once_and_blocks_none(
    folder, desk, crashes, caplog, monkeypatch
):
    """Its owner may have kept it to himself."""
    crashed(folder, "1", "2")
    read = type(folder).open

    def refusing(file, *args, **kwargs):
        if file == folder / "1/meta":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(file, *args, **kwargs)

    monkeypatch.setattr(type(folder), "open", refusing)

    assert await crashes.post_all() == 1
    assert await crashes.post_all() == 0

    assert [each.report for each in caplog.records] == ["1"]
    assert (folder / "1").exists()


async def test_a_folder_that_is_not_there_is_empty(crashes):
    """Programs make it with their first crash."""
    assert await asyncio.wait_for(crashes.post_all(), 5) == 0
