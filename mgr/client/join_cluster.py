"""Exchanges a join token for a certificate, and stores it in a folder (docs/adr/0051).

The token has the hash of the CA's public key. The server's certificate chain is read first and the
CA found in it by that hash; only then, over a connection that this CA vouches for, the secret is
sent. The private key is made here and never leaves this host.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mgr.client.blocking import run
from mgr.client.peers import OPTIONS, addresses_in
from mgr.clock import CLOCK
from mgr.errors import (
    InvalidSettingError,
    NotActiveError,
    NotAuthorizedError,
    OverloadedError,
    StoreError,
    UnreachableError,
)
from mgr.pki.authority import pin_of
from mgr.pki.private_key import PRIVATE, PUBLIC, PrivateKey, write_file
from mgr.pki.token_text import TokenText
from mgr.rpc.status import error_of
from mgr.rpc.v1.certificate_pb2 import JoinRequest, JoinResponse
from mgr.rpc.v1.certificate_pb2_grpc import CertificateServiceStub
from mgr.tls import CA_FILE, CLIENT_FILE, Tls
from mgr.x509_errors import UNUSABLE

TIMEOUT_S: Final = 30.0
JOIN_PORT: Final = 7401
CONNECT_S: Final = 5.0
PAUSE_S: Final = 0.3
RETRIED: Final = (NotActiveError, OverloadedError, StoreError, UnreachableError)
"""Errors after which another manager, or the same one a little later, may answer. A repetition with
the same key is safe: it gets the same certificate."""


async def join(
    hosts: str | Iterable[str], token: str, name: str, folder: str, *, timeout_s: float = TIMEOUT_S
) -> Tls:
    """Get a certificate for ``name`` into ``folder``; return what a client or daemon presents.

    If the folder has a certificate already, that one is returned and the token is not used.
    ``hosts`` are addresses at which managers listen for joins (``join_listen``).

    Raises:
        InvalidArgumentError: The token has another form.
        InvalidSettingError: The folder cannot be used.
        NotAuthorizedError: The token is unknown, used or expired, or not for this cluster.
        NotPermittedError: It is not for this name.
        UnreachableError: No manager signed in time.

    """
    if not await asyncio.to_thread(Path(folder, CLIENT_FILE).exists):
        parsed, key = TokenText.parse(token), PrivateKey()
        answer = await exchange(hosts, parsed, name, key, timeout_s=timeout_s)
        store(Path(folder), CLIENT_FILE, key, answer)
    return Tls.from_folder(folder)


def join_blocking(
    hosts: str | Iterable[str], token: str, name: str, folder: str, *, timeout_s: float = TIMEOUT_S
) -> Tls:
    """``join`` for programs without an event loop."""
    return run(join(hosts, token, name, folder, timeout_s=timeout_s))


async def exchange(
    hosts: str | Iterable[str],
    token: TokenText,
    name: str,
    key: PrivateKey,
    *,
    addresses: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> JoinResponse:
    """Ask the managers at ``hosts`` until one signs; raises as ``join`` does."""
    request = JoinRequest(
        token_id=token.id,
        secret=token.secret,
        name=name,
        signing_request=key.request(name),
        addresses=addresses,
    )
    known = list(addresses_in(hosts, port=JOIN_PORT))
    failures: dict[str, str] = {}
    end_s = CLOCK.now() + timeout_s
    turn = 0
    while CLOCK.now() < end_s:
        address = known[turn % len(known)]
        turn += 1
        try:
            return await _join_at(address, token.pin, request)
        except RETRIED as error:
            failures[address] = str(error).removeprefix(f"{address}: ")
            named = error.active_address if isinstance(error, NotActiveError) else None
            if named and named not in known:
                known.insert(turn % (len(known) + 1), named)
        if turn % len(known) == 0:
            await asyncio.sleep(PAUSE_S)
    raise UnreachableError("no manager signed a certificate", failures=failures)


def store(folder: Path, file: str, key: PrivateKey, answer: JoinResponse) -> None:
    """Write key and certificate as ``file``, and the CA, into ``folder``; it is made if absent.

    Raises:
        InvalidSettingError: The folder cannot be written.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(folder / CA_FILE, answer.ca, mode=PUBLIC)
        # Last: its presence means that all is there.
        write_file(folder / file, key.with_certificate(answer.certificate.decode()), mode=PRIVATE)
    except OSError as error:
        raise InvalidSettingError(f"cannot write {folder}: {error.strerror}") from None


async def _join_at(address: str, pin: str, request: JoinRequest) -> JoinResponse:
    ca = await _pinned_authority(address, pin)
    channel = grpc.aio.secure_channel(
        address, grpc.ssl_channel_credentials(root_certificates=ca), options=OPTIONS
    )
    async with channel:
        try:
            answer: JoinResponse = await CertificateServiceStub(channel).Join(
                request, timeout=CONNECT_S
            )
        except grpc.aio.AioRpcError as failed:
            error = error_of(failed)
            if failed.code() is grpc.StatusCode.UNAVAILABLE and not isinstance(error, RETRIED):
                raise UnreachableError(str(error)) from None
            raise error from None
    return answer


async def _pinned_authority(address: str, pin: str) -> bytes:
    """Return the CA in the server's chain whose public key has the hash ``pin``, in PEM form.

    Raises:
        UnreachableError: There is no server, or it does not speak TLS.
        NotAuthorizedError: Its chain has no such CA. Nothing was sent.

    """
    for presented in await _presented_chain(address):
        with contextlib.suppress(*UNUSABLE):
            certificate = x509.load_der_x509_certificate(presented)
            if pin_of(certificate) == pin:
                return certificate.public_bytes(serialization.Encoding.PEM)
    raise NotAuthorizedError(
        f"{address} does not present the CA that the token was made for: wrong address, or "
        "somebody in between; the token was not sent"
    )


async def _presented_chain(address: str) -> list[bytes]:
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent over this connection: what it presents is compared with the token's hash.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except TimeoutError:
        raise UnreachableError(f"{address}: no answer in time") from None
    except ssl.SSLError as error:
        raise UnreachableError(f"{address} does not speak TLS ({error.reason})") from None
    except OSError as error:
        # The text of asyncio's error repeats the address; one of a name that is not found does not.
        known = error.errno in errno.errorcode
        why = os.strerror(error.errno or 0) if known else error.strerror or error
        raise UnreachableError(f"{address}: {why}") from None
    try:
        return _chain_of(writer.get_extra_info("ssl_object"))
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


def _chain_of(connection: Any) -> list[bytes]:
    if hasattr(connection, "get_unverified_chain"):  # Python 3.13
        return list(connection.get_unverified_chain())
    # The same function, before it was made public.
    chain = connection._sslobj.get_unverified_chain()  # noqa: SLF001
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain]
