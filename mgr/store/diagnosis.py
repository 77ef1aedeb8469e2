"""Finds out why there is no connection to an etcd endpoint, for the line in the log.

gRPC reports only that it could not connect. So one connection of its own is made with the standard
library, whose errors tell what TLS refused. Nothing is sent over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Final

from mgr.tls import Tls

NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
SPEAKS_NO_TLS: Final = "it does not speak TLS: switch TLS on there, or leave etcd_ca empty"
ADVICE: Final[tuple[tuple[str, str], ...]] = (
    ("expired", "renew it, or correct the clock of this host"),
    ("not yet valid", "correct the clock of this host or that one"),
    ("mismatch", "put the name of the setting etcd into its certificate"),
    ("", "etcd_ca must have the CA that signed it"),
)
"""What to do about a certificate that is not accepted, by words of OpenSSL's reason."""
FIRST_READ_S: Final = 0.2
"""A server refuses a client certificate after the handshake, with the first message."""


async def why_not_connected(address: str, tls: Tls | None, limit_s: float) -> str:
    """Return the reason and what to do, in words for an operator; empty if none was found."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        async with asyncio.timeout(limit_s):
            return await _try(host, int(port), tls)
    except TimeoutError:
        return "no answer in time"
    except ssl.SSLError as error:
        return _of_tls(error)
    except socket.gaierror as error:
        return f"the name {host!r} is not known: {error.strerror}"
    except OSError as error:
        return (
            os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
        )


async def _try(host: str, port: int, tls: Tls | None) -> str:
    """Connect; return a reason that is no exception."""
    if tls is None:
        return await _try_plaintext(host, port)
    context = await asyncio.to_thread(_context, tls)
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except (ConnectionResetError, ssl.SSLEOFError):
        return SPEAKS_NO_TLS
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READ_S):
                await reader.read(1)
    finally:
        writer.close()
    return ""


async def _try_plaintext(host: str, port: int) -> str:
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE  # only to see whether TLS is spoken; nothing is sent
    _, writer = await asyncio.open_connection(host, port)
    try:
        # A server without TLS either refuses the handshake or waits for the rest of a request.
        async with asyncio.timeout(FIRST_READ_S):
            await writer.start_tls(anything)
    except (TimeoutError, OSError):
        return ""
    finally:
        writer.close()
    return "it speaks TLS: set etcd_ca"


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=tls.ca.decode("ascii", "replace") or None)
    context.set_alpn_protocols(["h2"])
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        advice = next(advice for words, advice in ADVICE if words in why)
        return f"its certificate is not accepted: {why}; {advice}"
    reason = error.reason or str(error)
    if reason in NOT_TLS:
        return SPEAKS_NO_TLS
    if "CERTIFICATE_REQUIRED" in reason:
        return "it requires a client certificate: set etcd_cert and etcd_key"
    if "ALERT" in reason:
        words = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"it refuses our client certificate ({words}): see etcd's log, renew etcd_cert"
    return f"TLS fails: {reason.replace('_', ' ').lower()}"
