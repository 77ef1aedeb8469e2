"""Runs a command in a task of its own, which outlives the caller that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from mgr.command.answer import Answer
from mgr.errors import TermLostError


async def capture_error(work: Coroutine[Any, Any, Answer]) -> Answer | Exception:
    """Return the answer of ``work``, or the exception that it raised."""
    # An error is the outcome of this command. Raised in the task, it would cancel the whole group.
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - raised again for every caller
        return error


async def shield(task: asyncio.Task[Answer | Exception]) -> Answer:
    """Wait for ``task`` without cancelling it; raise what it captured."""
    try:
        outcome = await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise TermLostError("this manager gave up leadership while the command ran") from None
        raise
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
