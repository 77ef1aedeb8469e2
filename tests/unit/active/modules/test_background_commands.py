"""Commands that modules do not wait for: whatever happens, each is completed."""

import asyncio
import contextlib
import errno

from mgr.active.modules.background_commands import (
    BackgroundCommand,
    BackgroundCommands,
    deliver_in_thread,
)
from mgr.command.dispatch import Request


class Modules:
    """Who is told of completed commands."""

    def __init__(self):
        self.notified = []

    def notify(self, kind, notify_id):
        self.notified.append((kind, notify_id))


async def test_a_command_is_completed_when_everything_is_cancelled():
    """A thread that waits for its answer is not left waiting for a manager that is over."""
    begun, answers = asyncio.Event(), []

    async def never(_request):
        begun.set()
        await asyncio.Event().wait()

    complete = deliver_in_thread("probe", lambda *answer: answers.append(answer))

    async def live():
        async with asyncio.TaskGroup() as tasks:
            commands = BackgroundCommands(never, Modules(), tasks)
            commands.start(BackgroundCommand("probe", Request(["x"]), "", complete))

    living = asyncio.create_task(live())  # noqa: TID251 - cancelled on the next lines
    await begun.wait()
    living.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await living

    [(retval, _, words)] = answers
    assert retval == -errno.ECANCELED
    assert "ended before there was an answer" in words
