"""Posts crash reports, which programs leave in a folder, to the manager and moves them aside.

The format is Ceph's: a folder for each report, with ``meta`` (JSON) and, once it is complete,
``done``.
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
"""Reports posted in one run: a program that crashes all the time leaves thousands."""

log = logging.getLogger(__name__)

Post = Callable[[bytes], Awaitable[Answer]]


class Crashes:
    """The reports in one folder: each is posted once, and a bad one does not block the others."""

    def __init__(self, folder: Path, post: Post) -> None:
        """Post the reports in ``folder`` with ``post``."""
        self._folder = folder
        self._post = post
        self._settled: set[str] = set()
        self._stuck: set[str] = set()
        self._tries: Tally[str] = Tally()
        self._last_reason = ""

    async def post_all(self) -> int:
        """Post the complete reports that were not posted yet; return how many were accepted.

        A report that the manager refuses as invalid is moved aside as well: it would be refused
        again. Any other refusal, or no answer, ends this run: the rest stays for the next run,
        which begins with the reports that were tried least. A report that was posted and cannot be
        moved is not posted again, only moved. Each problem is logged when it begins, not in every
        run.
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
                log.warning("crash report not posted, retrying", extra=fields)
            self._last_reason = later.reason
        else:
            self._last_reason = ""
        return count

    async def _process(self, report: Path) -> bool:
        """Post one report and move it aside; return whether it was accepted."""
        try:
            meta = await asyncio.to_thread(_read, report / "meta")
        except OSError as error:
            self._log_stuck(report, error)
            return False
        refused = await self._refusal(report, meta)
        if refused:
            log.error(
                "crash report refused as invalid, moved aside",
                extra={"report": report.name, "why": refused},
            )
        self._settled.add(report.name)
        await self._put_aside(report)
        return not refused

    async def _refusal(self, report: Path, meta: bytes) -> str:
        """Post one report; return why it is refused for good, empty if it was accepted."""
        try:
            answer = await self._post(meta)
        except UnknownCommandError as error:
            # The module that takes reports is missing; the report itself may be valid.
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
            log.warning("crash report cannot be read or moved, retrying", extra=fields)

    def _remember_only(self, names: set[str]) -> None:
        self._settled &= names
        self._stuck &= names
        for gone in self._tries.keys() - names:
            del self._tries[gone]


class _LaterError(Exception):
    """The manager did not accept the report for a reason that may pass: try again later."""

    def __init__(self, report: Path, why: str) -> None:
        super().__init__(why)
        self.report, self.reason = report.name, why


def complete_reports(folder: Path) -> list[Path]:
    """Return the complete reports, sorted by name."""
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
