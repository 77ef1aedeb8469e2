"""Command ``etcd status``: the servers of etcd as the active sees them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import table
from mgr.store.api import StoreMember

TIMEOUT_S: Final = 1.0
"""A server that has not answered by then is shown without an answer."""
MIB: Final = 1 << 20
HEADINGS: Final = ("NAME", "ENDPOINT", "STATE", "VERSION", "SIZE", "QUOTA", "ANSWER")


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""

    async def status(_call: Call) -> Reply:
        members = await context.leases.members(timeout_s=TIMEOUT_S)
        rows = [_row(each) for each in members]
        return Reply([asdict(each) for each in members], plain=table(HEADINGS, rows))

    return [
        builtin(
            "etcd status",
            "show etcd's servers: which leads, how large each is, how fast it answers",
            "r",
            status,
        )
    ]


def _row(member: StoreMember) -> tuple[str, ...]:
    if not member.reachable:
        return member.name or "-", member.endpoint, f"no answer: {member.error}", "", "", "", ""
    latency = f"{member.latency_ms} ms"
    if member.error:
        return "-", member.endpoint, f"answers; {member.error}", "", "", "", latency
    return (
        member.name or "-",
        member.endpoint,
        "leader" if member.leader else "follower",
        member.version,
        f"{member.bytes / MIB:.1f} MiB",
        f"{member.quota_bytes / MIB:.0f} MiB" if member.quota_bytes else "-",
        latency,
    )
