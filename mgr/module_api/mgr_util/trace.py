"""The trace of the command that a module is running, to be passed on."""

from __future__ import annotations

from mgr.tracing import current


def trace_headers() -> dict[str, str]:
    """Return ``traceparent`` and ``tracestate`` of the present command, as headers of a request.

    Empty if its client sent none and the manager makes no spans, and on threads that the module
    started itself.
    """
    context = current()
    return {} if context is None else context.headers()
