"""Commands ``osd``: requests of Ceph's exporters, answered although there are no OSDs."""

from __future__ import annotations

from mgr.argument.descriptor import Signature
from mgr.command.builtin.call import BuiltinCommand, Call, Reply
from mgr.command.builtin.context import BuiltinContext
from mgr.command.registry import Command


def commands(_context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun; none is shown in help."""
    signature = Signature.parse("osd blocklist ls")
    command = Command(signature, "Show refused clients", "r", idempotent=True, hidden=True)
    return [BuiltinCommand(command, _blocklist)]


async def _blocklist(_call: Call) -> Reply:
    # Ceph's prometheus module reads the count from the second word of the note.
    return Reply([], note="listed 0 entries")
