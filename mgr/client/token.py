"""Sends a client's token with each call. The channel is TLS: ``mgr.tls.Tls`` has the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import grpc

AUTHORIZATION: Final = "authorization"


def with_token(channel: grpc.aio.Channel, token: str) -> grpc.aio.Channel:
    """Return what stubs take for ``channel``; with a ``token``, each call shows it."""
    return cast("grpc.aio.Channel", _TokenChannel(channel, token)) if token else channel


class _TokenChannel:
    """Stands for a channel where stubs are made, and adds the token to every call.

    Interceptors would do the same, but a call behind an interceptor lacks parts of the interface
    of calls, and costs more.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._channel = channel
        self._metadata = ((AUTHORIZATION, f"Bearer {token}"),)

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        """Return the function that makes calls of ``kind``, such as ``unary_unary``."""
        make = getattr(self._channel, kind)

        def method(*arguments: Any, **options: Any) -> Callable[..., Any]:
            begin = make(*arguments, **options)

            def call(*sent: Any, **given: Any) -> Any:
                return begin(*sent, metadata=self._metadata, **given)

            return call

        return method
