"""Format and destination of log lines. All other modules only use ``logging``.

A record is a constant sentence plus fields (``extra=``). Text lines end with the fields as
``name=value``, JSON lines have them as keys. Both go to standard error, one record per line.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Final

from pythonjsonlogger.json import JsonFormatter

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""The attributes of every record; all others are fields."""
_LINE_JOINT: Final = "\n    "
"""Further lines of a message are indented, so that they are not taken for records."""


def set_up(*, level: str, form: str, manager: str, component: str) -> None:
    """Log to standard error from now on; every line names ``manager`` and ``component``.

    ``level`` and ``form`` as the settings ``log_level`` and ``log_format``. May be called again.
    """
    formatter: logging.Formatter
    if form == "json":
        formatter = JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp=True,
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"manager": manager, "component": component},
        )
    else:
        formatter = TextFormatter(manager, component)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def flush_all() -> None:
    """Write everything that was logged so far. To be called before ``os._exit``."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO    a/guard mgr.guard.loop: phase changed phase=ACTIVE``."""

    def __init__(self, manager: str, component: str) -> None:
        super().__init__()
        self._origin = f"{manager}/{component}"

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        at = datetime.fromtimestamp(record.created, UTC)
        stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
        fields = "".join(
            f" {k}={_quote_if_needed(v)}" for k, v in vars(record).items() if k not in _OWN
        )
        line = f"{stamp} {record.levelname:<7} {self._origin} {record.name}: {record.getMessage()}"
        parts = [line + fields]
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return "\n".join(parts).replace("\n", _LINE_JOINT)


def _quote_if_needed(value: object) -> str:
    text = str(value)
    plain = text and text.isprintable() and not set(text) & set(' "=')
    return text if plain else repr(text)
