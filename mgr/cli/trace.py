"""Traces of ``mgrctl``: it continues the trace of whoever starts it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from mgr import tracing

ENDPOINT_VARIABLE: Final = "MGR_TRACE_ENDPOINT"
SEND_S: Final = 1.0
"""How long the end of the program waits until its spans are sent."""


@contextmanager
def traced(environment: Mapping[str, str]) -> Iterator[None]:
    """Pass on ``TRACEPARENT`` and ``TRACESTATE``; make spans if there is an endpoint for them.

    Raises:
        InvalidSettingError: There is one, and OpenTelemetry is not installed.

    """
    if endpoint := environment.get(ENDPOINT_VARIABLE):
        tracing.start(endpoint, service="mgrctl", instance=socket.gethostname())
    given = tracing.parse(
        environment.get(tracing.TRACEPARENT.upper(), ""),
        environment.get(tracing.TRACESTATE.upper(), ""),
    )
    try:
        with tracing.Carried(given):
            yield
    finally:
        tracing.stop(SEND_S)
