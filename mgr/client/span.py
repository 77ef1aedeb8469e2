"""The client's part in a trace: the context that is sent with a command, and a span for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mgr import tracing
from mgr.tracing import Kind, SpanMaker, TraceContext

NAME: Final = "mgr command"
"""Name of every span. The words of a command are left out: some may be secret."""
API: Final = "opentelemetry.trace"


@contextmanager
def client_span() -> Iterator[TraceContext | None]:
    """Measure one command; yield the context that is to be sent with it, None without one.

    A program that has imported OpenTelemetry gets a span in its own trace, by its own tracer. This
    never imports it by itself.
    """
    maker = None if tracing.enabled() else _maker_of_program()
    if maker is not None:
        with maker.span(NAME, Kind.CLIENT, None):
            yield tracing.current()
    elif tracing.enabled():
        with tracing.span(NAME, Kind.CLIENT):
            yield tracing.current()
    else:
        yield tracing.current()


def _maker_of_program() -> SpanMaker | None:
    api: Any = sys.modules.get(API)
    if api is None or not hasattr(api, "get_tracer_provider"):
        return None
    from mgr.otel import OtelSpans  # noqa: PLC0415 - only where OpenTelemetry is imported already

    return OtelSpans(api.get_tracer_provider())
