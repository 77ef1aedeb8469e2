"""What a daemon may say: names, lengths and numbers, as its library and the manager go by them.

The library refuses at the call what the manager would refuse later, and end the stream for.
"""

from __future__ import annotations

import re
from typing import Final

KIND: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED: Final = "mgr"
"""The managers' own type."""
ID_MAX: Final = 128
TEXT_MAX: Final = 255
"""Characters of a host's name, a version, a counter's name, a label."""
TEXTS_BYTES_MAX: Final = 16 << 10
"""Of a daemon's metadata, or of its status. Metadata is in etcd, and in every standby's memory."""
COMMANDS_MAX: Final = 256
COMMAND_MAX: Final = 4096
"""Characters of the descriptor of one command."""
COUNTERS_MAX: Final = 10_000
"""Of one daemon, unless the managers' option ``mgr_daemon_counters_max`` says otherwise."""
VALUES_EACH: Final = 2
"""Values in a row for each counter that a daemon may have: averages have two."""
DESCRIPTION_MAX: Final = 1024
LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a label may be called: what every system that reads them takes."""
LABELS_MAX: Final = 16
BOUNDS_MAX: Final = 64
METRICS_MAX: Final = 32
METRIC: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
OUR_CHECKS: Final = "MGR_"
DEVICES_MAX: Final = 512

_LINES: Final = {ord("\n"): " ", ord("\t"): " ", ord("\r"): " "}


def is_name(kind: str, ident: str) -> bool:
    """Whether a daemon may be called ``<kind>.<ident>``."""
    return is_kind(kind) and is_id(ident)


def is_kind(kind: str) -> bool:
    """Whether daemons may be of this type."""
    return KIND.fullmatch(kind) is not None and kind != RESERVED


def is_id(ident: str) -> bool:
    """Whether a daemon may be told from others by this."""
    plain = ident.isprintable() and not set(ident) & {" ", "/"}
    return plain and 0 < len(ident) <= ID_MAX


def is_metric(code: str) -> bool:
    """Whether a health metric may be called so."""
    return METRIC.fullmatch(code) is not None and not code.startswith(OUR_CHECKS)


def is_label(name: str) -> bool:
    """Whether a label may be called so."""
    return LABEL.fullmatch(name) is not None


def is_text(text: str) -> bool:
    """Whether it is one short line."""
    return len(text) <= TEXT_MAX and text.isprintable()


def is_printable(text: str) -> bool:
    """Whether it is free of control characters, except tabs and ends of lines."""
    return text.isprintable() or text.translate(_LINES).isprintable()
