"""Reports of crashes that programs leave in a folder: posted to the manager, then put aside.

As Ceph writes them: a folder for each, with ``meta`` (JSON) and, once it is complete, ``done``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mgr.client.messages import Answer
from mgr.errors import InvalidArgumentError, MgrError, UnknownCommandError

POSTED: Final = "posted"
META_BYTES_MAX: Final = 1 << 20
AT_ONCE_MAX: Final = 100
"""Of one look: a program that crashes all the time leaves thousands."""

log = logging.getLogger(__name__)

Post = Callable[[bytes], Awaitable[Answer]]


class Crashes:
    """The reports in one folder: each is posted once, and none stands in the way of another."""

    def __init__(self, folder: Path, post: Post) -> None:
        """Post those in ``folder`` by ``post``."""
        self._folder = folder
        self._post = post
        self._settled: set[str] = set()
        self._stuck: set[str] = set()
        self._tries: Tally[str] = Tally()
        self._last_reason = ""

    async def post_all(self) -> int:
        """Post what is complete and not yet posted; how many were taken.

        What the manager refuses as invalid is put aside as well: it would be refused again. Any
        other refusal, or no answer, ends the look: everything stays for the next, which begins
        with what was tried least. What cannot be moved is not posted again, only moved. Each
        trouble is logged when it begins, not with every look.
        """
        found = await asyncio.to_thread(complete_reports, self._folder)
        self._remember_only({each.name for each in found})
        for report in [each for each in found if each.name in self._settled][:AT_ONCE_MAX]:
            await self._put_aside(report)
        fresh = [each for each in found if each.name not in self._settled]
        fresh.sort(key=lambda each: (self._tries[each.name], each.name))
        count = 0
        try:
            for report in fresh[:AT_ONCE_MAX]:
                self._tries[report.name] += 1
                count += await self._process(report)
        except _LaterError as later:
            if later.reason != self._last_reason:
                fields = {"report": later.report, "why": later.reason}
                log.warning("a crash is not posted; tried again", extra=fields)
            self._last_reason = later.reason
        else:
            self._last_reason = ""
        return count

    async def _process(self, report: Path) -> bool:
        """Post one and put it aside; whether it was taken."""
        try:
            meta = await asyncio.to_thread(_read, report / "meta")
        except OSError as error:
            self._log_stuck(report, error)
            return False
        refused = await self._refusal(report, meta)
        if refused:
            log.error("a crash was refused", extra={"report": report.name, "why": refused})
        self._settled.add(report.name)
        await self._put_aside(report)
        return not refused

    async def _refusal(self, report: Path, meta: bytes) -> str:
        """Why it is refused for good; nothing if it was taken."""
        try:
            answer = await self._post(meta)
        except UnknownCommandError as error:
            # The module that takes reports is not there: the report itself is not to blame.
            raise _LaterError(report, str(error)) from None
        except InvalidArgumentError as error:
            return str(error)
        except MgrError as error:
            raise _LaterError(report, str(error)) from None
        why = answer.stderr or os.strerror(-answer.retval)
        if answer.retval not in {0, -errno.EINVAL}:
            raise _LaterError(report, why)
        return why if answer.retval else ""

    async def _put_aside(self, report: Path) -> None:
        try:
            await asyncio.to_thread(_move, report)
        except OSError as error:
            self._log_stuck(report, error)
        else:
            self._settled.discard(report.name)

    def _log_stuck(self, report: Path, error: OSError) -> None:
        if report.name not in self._stuck:
            self._stuck.add(report.name)
            fields = {"report": report.name, "why": str(error)}
            log.warning("a crash's report cannot be read or moved; tried again", extra=fields)

    def _remember_only(self, names: set[str]) -> None:
        self._settled &= names
        self._stuck &= names
        for gone in self._tries.keys() - names:
            del self._tries[gone]


class _LaterError(Exception):
    """The manager takes no report now, or not this one."""

    def __init__(self, report: Path, why: str) -> None:
        super().__init__(why)
        self.report, self.reason = report.name, why


def complete_reports(folder: Path) -> list[Path]:
    """The reports that are complete, oldest name first."""
    with contextlib.suppress(OSError):
        found = sorted(each.parent for each in folder.glob("*/done") if each.parent.name != POSTED)
        return [each for each in found if (each / "meta").is_file()]
    return []


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(META_BYTES_MAX)


def _move(report: Path) -> None:
    aside = report.parent / POSTED
    aside.mkdir(exist_ok=True)
    report.rename(aside / report.name)
