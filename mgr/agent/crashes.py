"""Reports of crashes that programs leave in a folder: posted to the manager, then put aside.

As Ceph writes them: a folder for each, with ``meta`` (JSON) and, once it is complete, ``done``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mgr.client.answer import Answer
from mgr.errors import MgrError

POSTED: Final = "posted"
META_BYTES_MAX: Final = 1 << 20
AT_ONCE_MAX: Final = 100
"""Of one look: a program that crashes all the time leaves thousands."""

log = logging.getLogger(__name__)

Post = Callable[[bytes], Awaitable[Answer]]


async def post_all(folder: Path, post: Post) -> int:
    """Post what is complete and not yet posted; how many were.

    What the manager refuses is put aside as well: it would be refused again. While no manager
    answers, everything stays where it is.
    """
    count = 0
    for report in await asyncio.to_thread(waiting, folder):
        try:
            meta = await asyncio.to_thread(_read, report / "meta")
            answer = await post(meta)
        except (MgrError, OSError) as error:
            log.warning("a crash is not posted", extra={"report": report.name, "why": str(error)})
            return count
        if answer.retval:
            log.error("a crash was refused", extra={"report": report.name, "why": answer.stderr})
        count += not answer.retval
        await asyncio.to_thread(_put_aside, report)
    return count


def waiting(folder: Path) -> list[Path]:
    """The reports that are complete, oldest name first."""
    with contextlib.suppress(OSError):
        found = sorted(each.parent for each in folder.glob("*/done") if each.parent.name != POSTED)
        return [each for each in found if (each / "meta").is_file()][:AT_ONCE_MAX]
    return []


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(META_BYTES_MAX)


def _put_aside(report: Path) -> None:
    aside = report.parent / POSTED
    aside.mkdir(exist_ok=True)
    report.rename(aside / report.name)
