"""Collects the facts for ``mgrctl doctor``: asks every manager twice, and the active once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from datetime import UTC, datetime
from typing import Any, Final

from mgr.cli.doctor.facts import Certificate, Facts, Sample
from mgr.cli.invocation import Invocation
from mgr.client.async_client import AsyncClient
from mgr.clock import CLOCK, utc_now, wall_s
from mgr.errors import MgrError
from mgr.tls import Tls
from mgr.version import installed_version

COMMANDS: Final = (
    ("health", "detail"),
    ("etcd", "status"),
    ("mgr", "compare"),
    ("mgr", "metadata"),
    ("config", "dump"),
)
OBSERVE_S: Final = 2.0
"""Time between the two answers of a manager, whose clocks are compared. An answer takes
milliseconds, so the rate is known to about a thousandth."""
CONNECT_S: Final = 2.0


async def gather(invocation: Invocation, *, observe_s: float = OBSERVE_S) -> Facts:
    """Ask everybody; what does not answer is recorded as such."""
    async with (
        AsyncClient(invocation.hosts, timeout_s=invocation.timeout_s, tls=invocation.tls) as client,
        asyncio.TaskGroup() as tasks,
    ):
        first = await _samples(client)
        documents = {words: tasks.create_task(_document(client, words)) for words in COMMANDS}
        certificates = tasks.create_task(_certificates(invocation.tls, list(first)))
        await asyncio.sleep(observe_s)
        second = await _samples(client)
    return Facts(
        samples=_merged(first, second),
        documents={" ".join(words): task.result() for words, task in documents.items()},
        certificates=certificates.result(),
        client_version=installed_version(),
        now=utc_now(),
    )


async def _samples(client: AsyncClient) -> dict[str, Sample | str]:
    # The first answers name further managers, which are asked then.
    await client.statuses()
    asked_s = CLOCK.now()
    found: dict[str, Sample | str] = {}
    for address, status in (await client.statuses()).items():
        found[address] = (
            status if isinstance(status, str) else Sample(status, asked_s, CLOCK.now(), wall_s())
        )
    return found


def _merged(
    first: dict[str, Sample | str], second: dict[str, Sample | str]
) -> dict[str, list[Sample] | str]:
    merged: dict[str, list[Sample] | str] = {}
    for address, last in second.items():
        before = first.get(address)
        if isinstance(last, str):
            merged[address] = last
        else:
            merged[address] = [before, last] if isinstance(before, Sample) else [last]
    return merged


async def _document(client: AsyncClient, words: tuple[str, ...]) -> Any:
    try:
        answer = await client.execute(words, {"format": "json"}, changes=False)
    except MgrError as error:
        return str(error)
    if answer.retval < 0:
        return answer.stderr or f"errno {-answer.retval}"
    return json.loads(answer.stdout)


async def _certificates(tls: Tls | None, addresses: list[str]) -> tuple[Certificate, ...]:
    """Return when the certificates of this client and of each manager end."""
    if tls is None:
        return ()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca:
        context.load_verify_locations(cadata=tls.ca.decode())
    else:
        context.load_default_certs()
    context.set_alpn_protocols(["h2"])
    found = []
    if tls.cert:
        found.append(_own(tls))
        with contextlib.suppress(ssl.SSLError):
            tls.load_into(context)
    async with asyncio.TaskGroup() as tasks:
        shown = [tasks.create_task(_shown_by(address, context)) for address in addresses]
    found += [each.result() for each in shown]
    return tuple(found)


def _own(tls: Tls) -> Certificate:
    from cryptography import x509  # noqa: PLC0415 - only with certificates

    try:
        ends_at = x509.load_pem_x509_certificate(tls.cert).not_valid_after_utc
    except ValueError as error:
        return Certificate(tls.cert_file, error=str(error))
    return Certificate(tls.cert_file, ends_at)


async def _shown_by(address: str, context: ssl.SSLContext) -> Certificate:
    host, _, port = address.rpartition(":")
    name = f"the certificate of {address}"
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, TimeoutError) as error:
        return Certificate(name, error=str(error) or "no answer")
    try:
        shown = writer.get_extra_info("peercert")
    finally:
        writer.close()
    ends_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    return Certificate(name, ends_at)
