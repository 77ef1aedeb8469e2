"""The trace context of a command: taken in, passed on and, on request, made into spans.

The context is that of W3C Trace Context: a ``traceparent`` and a ``tracestate``. A manager always
passes it on: from the client to the command, to the module's thread or process, to other modules
(``remote``), to the log and to the audit. That costs a context variable.

Spans are made only after ``start``, if the setting ``trace_endpoint`` is set. Until then
OpenTelemetry is not even imported, and ``span`` returns an object that does nothing.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from mgr.errors import InvalidSettingError
from mgr.version import installed_version

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
"""Names of the two in the metadata of a call and in the headers of a request."""
TRACEPARENT_CHARS_MAX: Final = 128
"""A later version of the standard may append fields to the 55 characters of today's."""
TRACESTATE_CHARS_MAX: Final = 512

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE: Final = re.compile(r"[ -~]*")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16

T = TypeVar("T")
Attributes = Mapping[str, str | int | float | bool]


class Kind(Enum):
    """The place of a span in a call."""

    CLIENT = "client"
    SERVER = "server"
    INTERNAL = "internal"


class TraceContext(NamedTuple):
    """What identifies the caller's span; both texts are valid."""

    traceparent: str
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        """The id of the whole trace: 32 hexadecimal digits."""
        return self.traceparent[3:35]

    def headers(self) -> dict[str, str]:
        """Return it as headers of a request."""
        state = {TRACESTATE: self.tracestate} if self.tracestate else {}
        return {TRACEPARENT: self.traceparent, **state}


class Span(Protocol):
    """A measured part of a command."""

    def set(self, name: str, value: str | float | bool) -> None:  # noqa: FBT001 - a value
        """Set an attribute."""
        ...

    def fail(self, why: str) -> None:
        """Mark it as failed."""
        ...


class SpanMaker(Protocol):
    """Makes spans (``mgr.otel``)."""

    def span(
        self, name: str, kind: Kind, attributes: Attributes | None
    ) -> AbstractContextManager[Span]:
        """Measure the body of a ``with``; ``current()`` is the span meanwhile."""
        ...

    def close(self, limit_s: float) -> None:
        """Send what was not sent yet, for at most ``limit_s`` seconds. May block."""
        ...


_current: Final[ContextVar[TraceContext | None]] = ContextVar("mgr-trace", default=None)
_maker: SpanMaker | None = None


def parse(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """Return the context of two texts from outside; None if ``traceparent`` is not valid.

    As the standard demands, a ``tracestate`` that is not valid is left out.
    """
    if not traceparent or len(traceparent) > TRACEPARENT_CHARS_MAX:
        return None
    found = _FORM.fullmatch(traceparent)
    if found is None or found[1] == "ff" or found[2] == _NO_TRACE or found[3] == _NO_SPAN:
        return None
    if found[5] is not None and found[1] == "00":
        return None
    if len(tracestate) > TRACESTATE_CHARS_MAX or not _STATE.fullmatch(tracestate):
        tracestate = ""
    return TraceContext(traceparent, tracestate)


def current() -> TraceContext | None:
    """Return the context of what runs now, on this thread or in this task; None without one."""
    return _current.get()


def trace_id() -> str:
    """Return the id of the present trace, for logs and records; empty without one."""
    context = _current.get()
    return "" if context is None else context.trace_id


class Carried:
    """``with Carried(context):`` makes ``context`` the current one. None: there is none."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: TraceContext | None) -> None:
        """Carry ``context``."""
        self._context = context

    def __enter__(self) -> None:
        self._token: Token[TraceContext | None] = _current.set(self._context)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def carrying(call: Callable[[], T]) -> Callable[[], T]:
    """Return what runs ``call`` in the present context, on whatever thread."""
    context = _current.get()
    if context is None:
        return call

    def run() -> T:
        with Carried(context):
            return call()

    return run


class _NoSpan:
    """Does nothing: no spans are made."""

    __slots__ = ()

    def set(self, name: str, value: str | float | bool) -> None:  # noqa: FBT001 - a value
        """Do nothing."""

    def fail(self, why: str) -> None:
        """Do nothing."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


_NO_SPAN_MADE: Final = _NoSpan()


def span(
    name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes | None = None
) -> AbstractContextManager[Span]:
    """Measure the body of a ``with``, as a part of the current trace or as the first of a new one.

    An exception marks the span as failed; its text does not get into the span, because it may
    contain what a client sent.
    """
    return _NO_SPAN_MADE if _maker is None else _maker.span(name, kind, attributes)


def part(
    name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes | None = None
) -> AbstractContextManager[Span]:
    """Return ``span`` if there is a current trace; otherwise nothing is measured."""
    if _maker is None or _current.get() is None:
        return _NO_SPAN_MADE
    return _maker.span(name, kind, attributes)


def enabled() -> bool:
    """Return whether spans are made."""
    return _maker is not None


def start(endpoint: str, *, service: str, instance: str) -> None:
    """Make spans from now on, sent to ``endpoint``; importing OpenTelemetry takes a while.

    Raises:
        InvalidSettingError: OpenTelemetry is not installed.

    """
    try:
        otel: Any = importlib.import_module("mgr.otel")
        made = otel.spans_to(
            endpoint, service=service, instance=instance, version=installed_version()
        )
    except ImportError as error:
        why = f"trace_endpoint needs the extra otel (pip install 'mgrd[otel]'): {error}"
        raise InvalidSettingError(why) from error
    install(made)


def stop(limit_s: float) -> None:
    """Make no more spans; send what was not sent yet, for at most ``limit_s`` seconds."""
    maker = _maker
    install(None)
    if maker is not None:
        maker.close(limit_s)


def install(maker: SpanMaker | None) -> None:
    """Make spans with ``maker`` from now on; None: no more."""
    global _maker  # noqa: PLW0603 - as with the log, there is one for a process
    _maker = maker
