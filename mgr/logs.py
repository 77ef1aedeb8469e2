"""Format and destination of log lines. All other modules only use ``logging``.

A record is a constant sentence plus fields (``extra=``). Text lines end with the fields as
``name=value``, JSON lines have them as keys. Both go to standard error, one record per line.

Libraries' loggers write warnings and errors only, whatever the level. In a process that runs module
code, ``protect`` makes the root logger refuse changes: its handler, form and level stay the
manager's.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from mgr.log_writer import LogWriter
from mgr.text import printable
from mgr.tracing import trace_id

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""The attributes of every record; all others are fields."""
_LINE_JOINT: Final = "\n    "
"""Further lines of a message are indented, so that they are not taken for records."""
OWN_LOGGERS: Final = ("mgr", "modules", "standby")
"""First names of the loggers of this project; ``modules.<name>`` is the logger of a module."""
ATTEMPTS_MAX: Final = 100
"""Limit of the places in the code whose attempts to change the log are logged."""

DROPPED: Final = "log lines dropped"
FLUSH_S: Final = 1.0
"""How long the end of a process waits for the reader of its log."""

log = logging.getLogger(__name__)


def set_up(
    *, level: str, form: str, manager: str, component: str, never_block: bool = False
) -> None:
    """Log to standard error from now on; every line names ``manager`` and ``component``.

    ``level`` and ``form`` as the settings ``log_level`` and ``log_format``. May be called again.
    With ``never_block`` nobody waits for the reader of standard error (``mgr.log_writer``).
    """
    formatter = _formatter(form, manager, component)
    handler = _ManagerHandler(formatter, never_block=never_block)
    root = logging.getLogger()
    if isinstance(root, _ProtectedRoot):
        _release(root)
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def set_up_after_fork(
    *, level: str, form: str, manager: str, component: str, never_block: bool
) -> None:
    """Do ``set_up`` and ``protect`` in a process forked from one that has done both.

    With the same level no logger is written to: each would be a page of memory that is no longer
    shared.
    """
    root = logging.getLogger()
    handlers = root.handlers
    if (
        isinstance(root, _ProtectedRoot)
        and root.level == logging.getLevelName(level.upper())
        and len(handlers) == 1
        and isinstance(handlers[0], _ManagerHandler)
    ):
        handlers[0].take_over(_formatter(form, manager, component), never_block=never_block)
        return
    set_up(level=level, form=form, manager=manager, component=component, never_block=never_block)
    protect()


def _formatter(form: str, manager: str, component: str) -> logging.Formatter:
    if form == "json":
        return JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp=True,
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"manager": manager, "component": component},
        )
    return TextFormatter(manager, component)


def protect() -> None:
    """Make the log refuse changes by modules, as ``set_up`` left it, until ``set_up`` is called.

    Attempts change nothing and raise nothing, because a library that a module imports may make
    them too. Each place in the code that calls a method for it is logged once.
    """
    root = logging.getLogger()
    # Read by the classes below, which replace the attributes of the same names.
    kept = {"_kept_handlers": tuple(root.handlers), "_kept_level": root.level, "_kept_filters": ()}
    vars(root).update(kept, _attempts=set())
    root.__class__ = _ProtectedRoot
    manager = logging.Logger.manager
    manager.disable = logging.NOTSET
    manager.__class__ = _ProtectedManager
    for logger in tuple(manager.loggerDict.values()):
        _protect_logger(logger)


def release() -> None:
    """Take the protection away, for tests."""
    root = logging.getLogger()
    if isinstance(root, _ProtectedRoot):
        _release(root)


def _release(root: logging.Logger) -> None:
    root.__class__ = logging.RootLogger
    manager = logging.Logger.manager
    manager.__class__ = logging.Manager
    for logger in tuple(manager.loggerDict.values()):
        if type(logger) in {_EnabledLogger, _ManagerLogger}:
            logger.__class__ = logging.Logger


def flush_all() -> None:
    """Write everything that was logged so far. To be called before ``os._exit``."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class _ManagerHandler(logging.StreamHandler[Any]):
    """Writes to standard error. Its form, level, filters and stream are not to be changed."""

    def __init__(self, formatter: logging.Formatter, *, never_block: bool = False) -> None:
        super().__init__(sys.stderr)
        self.take_over(formatter, never_block=never_block)

    def take_over(self, formatter: logging.Formatter, *, never_block: bool) -> None:
        """Write in the form of ``formatter`` from now on."""
        self.formatter = formatter
        fd = sys.stderr.fileno() if never_block else -1
        self._writer = LogWriter(fd, self._dropped_line) if never_block else None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; ``handle`` has taken the lock, so calls do not overlap."""
        if self._writer is None:
            super().emit(record)
            return
        try:
            self._writer.write(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001 - a field that cannot be formatted must not end its caller
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written, for ``FLUSH_S`` at most."""
        if self._writer is None:
            super().flush()
        else:
            self._writer.flush(FLUSH_S)

    def _dropped_line(self, count: int) -> str:
        fields = {"count": count}
        record = log.makeRecord(
            log.name, logging.WARNING, __file__, 0, DROPPED, (), None, extra=fields
        )
        return self.format(record) + self.terminator

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record, unless it is below a warning and from a library's logger."""
        _add_trace(record)
        own = record.name.partition(".")[0] in OWN_LOGGERS
        if not own and record.levelno < logging.WARNING:
            return False
        return bool(super().handle(record))

    def write(self, record: logging.LogRecord) -> None:
        """Write the record, whatever its logger is."""
        _add_trace(record)
        super().handle(record)

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 - logging's name
        """Ignore the call: modules find this handler at the root logger."""

    def setLevel(self, level: int | str) -> None:  # noqa: N802 - as above
        """Ignore the call, as ``setFormatter`` does."""

    def addFilter(self, filter: Any) -> None:  # noqa: A002, N802 - as above
        """Ignore the call, as ``setFormatter`` does."""

    def setStream(self, stream: Any) -> None:  # noqa: N802 - as above
        """Ignore the call, as ``setFormatter`` does."""


def _add_trace(record: logging.LogRecord) -> None:
    """Name the trace of the command that is running, on the thread that logs."""
    if found := trace_id():
        record.trace_id = found


class _Fixed:
    """Is an attribute with a fixed value: setting it changes nothing."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __get__(self, _instance: object, _owner: object) -> Any:
        return self._value

    def __set__(self, _instance: object, _value: object) -> None:
        """Ignore the new value."""


class _Kept:
    """Is an attribute of the root logger whose value is the one that ``protect`` found."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, root: Any, _owner: object) -> Any:
        value = vars(root)[self._name]
        return list(value) if isinstance(value, tuple) else value

    def __set__(self, _instance: object, _value: object) -> None:
        """Ignore the new value."""


class _ProtectedRoot(logging.RootLogger):
    """Is the root logger of a process that runs module code."""

    handlers: Any = _Kept("_kept_handlers")
    level: Any = _Kept("_kept_level")
    disabled: Any = _Fixed(value=False)
    filters: Any = _Kept("_kept_filters")
    _attempts: set[str]

    def handle(self, record: logging.LogRecord) -> None:
        """Write a record of the root logger itself, or of a module (``ManagerLogHandler``)."""
        for handler in self.handlers:
            if isinstance(handler, _ManagerHandler):
                handler.write(record)

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: ARG002, N802 - logging's name
        """Ignore the call, and log its place."""
        self._log_attempt()

    def removeHandler(self, hdlr: logging.Handler) -> None:  # noqa: ARG002, N802 - as above
        """Ignore the call, and log its place."""
        self._log_attempt()

    def setLevel(self, level: int | str) -> None:  # noqa: ARG002, N802 - as above
        """Ignore the call, and log its place."""
        self._log_attempt()

    def addFilter(self, filter: Any) -> None:  # noqa: A002, ARG002, N802 - as above
        """Ignore the call, and log its place."""
        self._log_attempt()

    def _log_attempt(self) -> None:
        here = (__file__, logging.__file__)
        frames = traceback.extract_stack(limit=12)
        places = [f"{f.filename}:{f.lineno}" for f in frames if not f.filename.startswith(here)]
        place = places[-1] if places else "unknown"
        if place not in self._attempts and len(self._attempts) < ATTEMPTS_MAX:
            self._attempts.add(place)
            log.warning("refused a change of the root logger", extra={"place": place})


class _EnabledLogger(logging.Logger):
    """Is a logger that ``dictConfig(disable_existing_loggers=True)`` of a module does not stop."""

    disabled: Any = _Fixed(value=False)


class _ManagerLogger(_EnabledLogger):
    """Is a logger of the manager's code: its records reach the root logger whatever a module does.

    A module's own logger is not one: the module sets its level.
    """

    level: Any = _Fixed(logging.NOTSET)
    propagate: Any = _Fixed(value=True)
    filters: Any = _Fixed(())


class _ProtectedManager(logging.Manager):
    """Creates loggers in a process that runs module code."""

    disable: Any = _Fixed(logging.NOTSET)

    def getLogger(self, name: str) -> logging.Logger:  # noqa: N802 - logging's name
        """See ``logging.getLogger``."""
        logger = super().getLogger(name)
        _protect_logger(logger)
        return logger


def _protect_logger(logger: object) -> None:
    if type(logger) is logging.Logger:
        own = logger.name.partition(".")[0] in {"mgr", "standby"}
        logger.__class__ = _ManagerLogger if own else _EnabledLogger


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
        return printable("\n".join(parts)).replace("\n", _LINE_JOINT)


def _quote_if_needed(value: object) -> str:
    text = str(value)
    plain = text and text.isprintable() and not set(text) & set(' "=')
    return text if plain else repr(text)
