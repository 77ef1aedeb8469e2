"""Command ``mgr module top``: what each module uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.command.module_usage import ModuleUsage
from mgr.command.render import table

HEADINGS: Final = (
    *("MODULE", "IN", "PID", "CPU%", "RSS", "PSS", "THREADS", "FILES", "WAITING", "COMMANDS/S"),
    *("P99 MS", "LOCK MS", "RESTARTS", "STATE"),
)
UNKNOWN: Final = "-"
_DIGITS: Final = 3


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the command under both of its names."""
    noun = _ModuleTop(context)
    text = "show what each module uses: processor, memory, threads, files, commands; repeats"
    return [
        builtin("mgr module top", text, "r", noun.top, poll=True),
        builtin("module top", f"{text} (short for 'mgr module top')", "r", noun.top, poll=True),
    ]


class _ModuleTop:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def top(self, call: Call) -> Reply:
        found = await self._context.usage(str(call.get("session_id") or ""))
        data = [_rounded(each) for each in sorted(found, key=_rank)]
        return Reply(data, plain=table(HEADINGS, _rows(sorted(found, key=_rank))))


def _rank(usage: ModuleUsage) -> tuple[float, str]:
    return -(usage.cpu_percent or 0.0), usage.module


def _rounded(usage: ModuleUsage) -> dict[str, object]:
    fields = asdict(usage)
    return {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in fields.items()
    }


def _rows(found: Iterable[ModuleUsage]) -> Iterable[tuple[str, ...]]:
    for each in found:
        yield (
            each.module,
            each.isolation,
            str(each.pid),
            _number(each.cpu_percent, 1),
            _mebibytes(each.resident_bytes),
            _mebibytes(each.proportional_bytes),
            _number(each.threads),
            _number(each.open_files),
            str(each.waiting),
            _number(each.commands_per_s, 1),
            _number(each.p99_ms, 1),
            _number(each.interpreter_wait_ms, 2),
            str(each.restarts),
            each.state,
        )


def _number(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _mebibytes(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value / (1 << 20):.1f}M"
