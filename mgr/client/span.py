"""The client's part in a trace: the context that is sent with a command, and a span for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from mgr import tracing
from mgr.tracing import Kind, Span, SpanMaker, TraceContext

NAME: Final = "mgr command"
"""Name of every span. The words of a command are left out: some may be secret."""
API: Final = "opentelemetry.trace"


def client_span() -> AbstractContextManager[TraceContext | None]:
    """Measure one command; yield the context that is to be sent with it, None without one.

    A program that has imported OpenTelemetry gets a span in its own trace, by its own tracer. This
    never imports it by itself.
    """
    if tracing.enabled():
        return _span(tracing.span(NAME, Kind.CLIENT))
    maker = _maker_of_program()
    if maker is None:
        return nullcontext(tracing.current())
    return _span(maker.span(NAME, Kind.CLIENT, None))


@contextmanager
def _span(span: AbstractContextManager[Span]) -> Iterator[TraceContext | None]:
    with span:
        yield tracing.current()


def _maker_of_program() -> SpanMaker | None:
    api: Any = sys.modules.get(API)
    if api is None or not hasattr(api, "get_tracer_provider"):
        return None
    from mgr.otel import OtelSpans  # noqa: PLC0415 - only where OpenTelemetry is imported already

    return OtelSpans(api.get_tracer_provider())
