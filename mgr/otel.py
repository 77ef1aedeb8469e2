"""Spans by OpenTelemetry, sent by OTLP over HTTP. Imported only where traces are on.

Spans wait in a bounded queue and are sent by a thread of its own: no command waits for the
collector, and what it does not take in time is dropped. The ``OTEL_*`` variables hold as usual,
above all ``OTEL_TRACES_SAMPLER`` and ``OTEL_EXPORTER_OTLP_HEADERS``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TracerProvider,
    TraceState,
    format_span_id,
    format_trace_id,
)

from mgr import tracing
from mgr.tracing import Attributes, Carried, Kind, Span, TraceContext

SEND_EVERY_MS: Final = 1000
"""How long a span waits at most. A process that dies takes along those that were not sent."""
SEND_S: Final = 5.0
"""Limit of one request to the collector."""
QUEUE_MAX: Final = 8192
"""Spans that wait; further ones are dropped."""

KINDS: Final = {
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.SERVER: SpanKind.SERVER,
    Kind.INTERNAL: SpanKind.INTERNAL,
}


class OtelSpans:
    """Implements ``mgr.tracing.SpanMaker``. Any thread may use it."""

    def __init__(self, provider: TracerProvider) -> None:
        """Make spans with a tracer of ``provider``."""
        self._provider = provider
        self._tracer = provider.get_tracer("mgr")

    @contextmanager
    def span(self, name: str, kind: Kind, attributes: Attributes | None) -> Iterator[Span]:
        """See ``mgr.tracing.span``."""
        parent = _parent(tracing.current())
        made = self._tracer.start_span(name, parent, KINDS[kind], dict(attributes or {}))
        # Modules that use OpenTelemetry themselves find this span as the current one.
        token = otel_context.attach(trace.set_span_in_context(made, parent))
        try:
            with Carried(context_of(made.get_span_context())):
                yield _OtelSpan(made)
        except BaseException as error:
            # Its type only: the text may contain what a client sent.
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            otel_context.detach(token)
            made.end()

    def close(self, limit_s: float) -> None:
        """See ``mgr.tracing.SpanMaker``."""
        flush = getattr(self._provider, "force_flush", None)
        if flush is not None:
            flush(int(limit_s * 1000))


def _parent(above: TraceContext | None) -> otel_context.Context:
    """Return the parent of a new span: OpenTelemetry's current one, if it is in this trace.

    A module, or the program of a client, may have made spans of its own in between.
    """
    here = trace.get_current_span().get_span_context()
    inside = here.is_valid and (above is None or format_trace_id(here.trace_id) == above.trace_id)
    if inside:
        return otel_context.get_current()
    return otel_context.Context() if above is None else otel_of(above)


class _OtelSpan:
    """Implements ``mgr.tracing.Span``."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: str | float | bool) -> None:  # noqa: FBT001 - as in the protocol
        """See ``mgr.tracing.Span``."""
        self._span.set_attribute(name, value)

    def fail(self, why: str) -> None:
        """See ``mgr.tracing.Span``."""
        self._span.set_status(Status(StatusCode.ERROR, why))


def context_of(span: SpanContext) -> TraceContext:
    """Return the context that names ``span``."""
    text = f"00-{format_trace_id(span.trace_id)}-{format_span_id(span.span_id)}"
    return TraceContext(f"{text}-{int(span.trace_flags):02x}", span.trace_state.to_header())


def otel_of(context: TraceContext) -> otel_context.Context:
    """Return OpenTelemetry's context whose current span is that of ``context``, elsewhere."""
    _, trace_id, span_id, flags = context.traceparent.split("-", 4)[:4]
    remote = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([context.tracestate] if context.tracestate else []),
    )
    return trace.set_span_in_context(NonRecordingSpan(remote), otel_context.Context())


def spans_to(endpoint: str, *, service: str, instance: str, version: str) -> OtelSpans:
    """Return a maker whose spans are sent to ``endpoint``: ``http://host:4318/v1/traces``."""
    # Imported here, because a program that has spans of its own needs no exporter of ours.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    origin = {
        "service.name": service,
        "service.instance.id": instance,
        "service.version": version,
    }
    with_environment = Resource.create
    provider = SdkProvider(resource=with_environment(origin))
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=SEND_S)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=QUEUE_MAX, schedule_delay_millis=SEND_EVERY_MS)
    )
    return OtelSpans(provider)
