"""Formats numbers, durations, tables and colours for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Self

BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, GRAY = range(8)

RESET_SEQ: Final = "\033[0m"
COLOR_SEQ: Final = "\033[1;%dm"
COLOR_DARK_SEQ: Final = "\033[0;%dm"
BOLD_SEQ: Final = "\033[1m"
UNDERLINE_SEQ: Final = "\033[4m"

_UNITS: Final = " kMGTPE"
_DAY_S: Final = 86400
_SPANS: Final = (
    (timedelta(seconds=120), 1, "s"),
    (timedelta(minutes=120), 60, "m"),
    (timedelta(hours=48), 3600, "h"),
    (timedelta(days=14), _DAY_S, "d"),
    (timedelta(weeks=12), 7 * _DAY_S, "w"),
    (timedelta(days=2 * 365), 30 * _DAY_S, "M"),
)


class CLIWarning(str):
    """A line of a command's output that is a warning."""

    __slots__ = ()

    def __new__(cls, content: str) -> Self:
        """Prefix the text with ``WARNING:``."""
        return super().__new__(cls, f"WARNING: {content}")


def colorize(msg: str, color: int, dark: bool = False) -> str:  # noqa: FBT001, FBT002 - Ceph's
    """Return ``msg`` in one of the eight terminal colours."""
    return (COLOR_DARK_SEQ if dark else COLOR_SEQ) % (30 + color) + msg + RESET_SEQ


def bold(msg: str) -> str:
    """Return ``msg`` in bold for a terminal."""
    return BOLD_SEQ + msg + RESET_SEQ


def format_units(n: float, width: int, colored: bool, decimal: bool) -> str:  # noqa: FBT001 - Ceph's
    """Format ``n`` in ``width`` characters, the last of which is a unit (blank, k, M, ... E).

    The units are powers of 1000 with ``decimal``, otherwise of 1024.
    """
    factor = 1000 if decimal else 1024
    unit = 0
    while len(str(int(n) // factor**unit)) > width - 1 and unit < len(_UNITS) - 1:
        unit += 1
    if unit:
        number = f"{n / float(factor**unit):f}"[: width - 1]
        if number.endswith("."):
            number = " " + number[:-1]
    else:
        number = f"{int(n):{width - 1}d}"
    if not colored:
        return number + _UNITS[unit]
    return bold(colorize(number, YELLOW if n else BLACK)) + bold(colorize(_UNITS[unit], YELLOW))


def format_dimless(n: float, width: int, colored: bool = False) -> str:  # noqa: FBT001, FBT002 - Ceph's
    """Format a count in ``width`` characters."""
    return format_units(n, width, colored, decimal=True)


def format_bytes(n: float, width: int, colored: bool = False) -> str:  # noqa: FBT001, FBT002 - Ceph's
    """Format a number of bytes in ``width`` characters."""
    return format_units(n, width, colored, decimal=False)


def to_pretty_timedelta(n: timedelta) -> str:
    """Format a duration as one whole number and a unit: s, m, h, d, w, M (months), y."""
    for limit, unit_s, letter in _SPANS:
        if n < limit:
            return f"{int(n.total_seconds()) // unit_s}{letter}"
    return f"{n.days // 365}y"


def to_pretty_iec(n: int) -> str:
    """Format a number of bytes with a binary prefix; a prefix is used from ten units on."""
    for bits, prefix in ((60, "Ei"), (50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if n > 10 << bits:
            return f"{n >> bits} {prefix}"
    return f"{n} "


def get_pretty_row(elems: Sequence[str], width: int) -> str:
    """Format a row of a table, ``width`` characters wide, with equal, right-aligned columns."""
    room = width // len(elems) - 2
    return "|" + "".join(f"{elem:>{room}} |" for elem in elems)


def get_pretty_header(elems: Sequence[str], width: int) -> str:
    """Format the header of a table, as wide as its rows."""
    line = "+" + ("-" * (width // len(elems) - 1) + "+") * len(elems)
    return f"{line}\n{get_pretty_row(elems, width)}\n{line}\n"
