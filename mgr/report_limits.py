"""The limits on reports of daemons: names, lengths and numbers, for the client and the manager.

The client library checks them at the call. The manager checks them again and ends the stream of a
daemon that breaks one.
"""

from __future__ import annotations

import re
from typing import Final

KIND: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED: Final = "mgr"
"""The type of the managers themselves, which no daemon may have."""
ID_MAX: Final = 128
TEXT_MAX: Final = 255
"""Characters of a host's name, a version, a counter's name, a label."""
TEXTS_BYTES_MAX: Final = 16 << 10
"""Size of a daemon's metadata, or of its status. Metadata is in etcd and in every standby's memory.
"""
COMMANDS_MAX: Final = 256
COMMAND_MAX: Final = 4096
"""Characters of the descriptor of one command."""
COUNTERS_MAX: Final = 10_000
"""Counters of one daemon; the option ``mgr_daemon_counters_max`` overrides it."""
VALUES_EACH: Final = 2
"""Values in a report for each counter: an average has two."""
RETVAL_MAX: Final = 2**31 - 1
"""The largest return value that the answer of a command can hold."""
DESCRIPTION_MAX: Final = 1024
LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The pattern of label names, which every system that reads metrics accepts."""
LABELS_MAX: Final = 16
BOUNDS_MAX: Final = 64
METRICS_MAX: Final = 32
METRIC: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
OUR_CHECKS: Final = "MGR_"
DEVICES_MAX: Final = 512

_LINES: Final = {ord("\n"): " ", ord("\t"): " ", ord("\r"): " "}


def is_name(kind: str, ident: str) -> bool:
    """Whether ``<kind>.<ident>`` is a valid name of a daemon."""
    return is_kind(kind) and is_id(ident)


def is_kind(kind: str) -> bool:
    """Whether ``kind`` is a valid type of daemons."""
    return KIND.fullmatch(kind) is not None and kind != RESERVED


def is_id(ident: str) -> bool:
    """Whether ``ident`` is a valid id of a daemon."""
    plain = ident.isprintable() and not set(ident) & {" ", "/"}
    return plain and 0 < len(ident) <= ID_MAX


def is_metric(code: str) -> bool:
    """Whether ``code`` is a valid name of a health metric."""
    return METRIC.fullmatch(code) is not None and not code.startswith(OUR_CHECKS)


def is_label(name: str) -> bool:
    """Whether ``name`` is a valid name of a label."""
    return LABEL.fullmatch(name) is not None


def is_text(text: str) -> bool:
    """Whether ``text`` is one short printable line."""
    return len(text) <= TEXT_MAX and text.isprintable()


def is_printable(text: str) -> bool:
    """Whether ``text`` has no control characters, except tabs and ends of lines."""
    return text.isprintable() or text.translate(_LINES).isprintable()
