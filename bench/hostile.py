"""What hostile clients cost the others: a normal load beside attacks, and beside nothing.

Three managers with mutual TLS. The attackers are a process of their own and ask as fast as they are
answered; they have no certificate, or one without capabilities. The load waits 20 ms after each
answer, as people and scripts do: what is measured is how long it waits, not how much there can be.

Attackers have hosts of their own. Here they take what the managers leave of the processors: their
process has the lowest priority. What the managers do for them has the managers' own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from bench.report import Report
from bench.setting import Setting
from mgr.client.async_client import AsyncClient
from mgr.client.blocking import Client
from mgr.clock import CLOCK
from mgr.errors import MgrError
from mgr.rpc.v1.command_pb2 import ExecuteRequest
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from mgr.tls import Tls
from tests.support.cluster import MGRD, Manager, wait_for
from tests.support.secured_etcd import Certificates

COMMANDS_IDLE: Final = 400
ATTACK_S: Final = 10.0
LIMIT_S: Final = 420.0
"""The longest that the measurement may take."""
LOWEST_PRIORITY: Final = 19
PAUSE_S: Final = 0.02
AT_ONCE: Final = 8
"""Connections, or calls, of one attack at a time."""
ADMIN: Final = "ops"
NOBODY: Final = "nobody"
TARGET: Final = "p99 <= 3 x idle"
WORD_BYTES: Final = 150_000
BODY_BYTES: Final = 8 << 20


@dataclass(slots=True)
class Found:
    """What was measured.

    Attributes:
        took_ms: The times of the load's commands, by what went on beside it.
        sent: How many attacks were over when their process was ended, by their name.
        memory_mib: Memory of the attacked worker, before and after.

    """

    took_ms: dict[str, list[float]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    memory_mib: list[float] = field(default_factory=list)


def run() -> Report:
    """Measure the load without an attack and beside each."""
    report = Report("Hostile clients", "python -m bench hostile")
    with tempfile.TemporaryDirectory(prefix="mgr-bench-pki-") as folder:
        pki = Certificates.make(Path(folder) / "pki")
        with Setting(names=(), **pki.settings(mutual=True)) as setting:
            cluster = setting.cluster
            first = [ADMIN, "--cluster", cluster.name, "--etcd", ",".join(cluster.etcd)]
            subprocess.run([MGRD, "recover-admin", *first], check=True, timeout=60)
            for name in "abc":
                cluster.add(name).start()
            admin = pki.tls_of(ADMIN)
            attacked = cluster.managers[_active_of(cluster.hosts, admin)]
            _write(pki.tls_of(NOBODY), Path(folder))
            found = asyncio.run(_within_limit(cluster.hosts, admin, attacked, Path(folder)))
    return _reported(report, found)


def _active_of(hosts: list[str], tls: Tls) -> str:
    """Wait until one manager leads and all others are warm; the name of the one that leads."""

    def settled() -> str:
        with contextlib.suppress(MgrError):
            status = client.status()
            warm = sum(each.warm for each in status.standbys)
            return status.active.name if status.active and warm == len(hosts) - 1 else ""
        return ""

    with Client(hosts, tls=tls) as client:
        return wait_for(settled, "one active and warm standbys", 90)


def _write(tls: Tls, folder: Path) -> None:
    """Write the attackers' certificate for their process."""
    for name, content in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        (folder / f"{name}.pem").write_bytes(content)


async def _within_limit(hosts: list[str], tls: Tls, attacked: Manager, folder: Path) -> Found:
    """Measure; a machine that is too busy for that raises TimeoutError."""
    async with (
        asyncio.timeout(LIMIT_S),
        AsyncClient(hosts, tls=tls, timeout_s=30, reach_s=30) as client,
    ):
        return await _measure(client, attacked, folder)


async def _measure(client: AsyncClient, attacked: Manager, folder: Path) -> Found:
    found = Found()
    term = await _term(client)
    try:
        await _load(client, COMMANDS_IDLE // 4)
        found.memory_mib.append(_memory_mib(attacked))
        found.took_ms["idle"] = await _load(client, COMMANDS_IDLE)
    except MgrError as error:
        raise TimeoutError(f"a command failed before the first attack: {error}") from error
    for name in ATTACKS:
        async with _attacking(name, attacked, folder) as sent:
            found.took_ms[name] = await _load(client, until_s=CLOCK.now() + ATTACK_S)
        found.sent[name] = sent.stat().st_size
    found.took_ms["idle again"] = await _load(client, COMMANDS_IDLE)
    found.memory_mib.append(_memory_mib(attacked))
    after = await _term(client)
    assert after == term, f"the leadership changed: term {term}, then {after}"
    return found


async def _term(client: AsyncClient) -> int:
    active = (await client.status()).active
    return active.term if active else 0


@contextlib.asynccontextmanager
async def _attacking(name: str, attacked: Manager, folder: Path) -> AsyncIterator[Path]:
    """Attack meanwhile; gives the file that grows by a byte with each attack that is over."""
    sent = folder / "sent"
    addresses = (attacked.grpc_address, attacked.http_address)
    with sent.open("wb") as out:
        attack = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "bench.hostile", name, *addresses, str(folder)),
            stdout=out,
        )
    try:
        yield sent
    except MgrError as error:
        error.add_note(f"beside {name}")
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            attack.kill()
        await attack.wait()


async def _load(client: AsyncClient, count: int = 0, *, until_s: float = 0.0) -> list[float]:
    took_ms: list[float] = []
    while len(took_ms) < count or CLOCK.now() < until_s:
        words = ["config", "set", "mgr", "mgr/crash/warn_recent_interval", str(100 + len(took_ms))]
        begun_s = CLOCK.now()
        answer = await client.execute(words if len(took_ms) % 5 == 0 else ["status"])
        took_ms.append((CLOCK.now() - begun_s) * 1e3)
        assert answer.retval == 0, answer
        await asyncio.sleep(PAUSE_S)
    return took_ms


def _memory_mib(manager: Manager) -> float:
    pages = int(Path(f"/proc/{manager.worker_pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _reported(report: Report, found: Found) -> Report:
    for name, samples in found.took_ms.items():
        if name in found.sent:
            report.add(f"a command beside {name}", samples, target=TARGET)
        else:
            report.add(f"reference: a command, {name}", samples)
    idle = report.series[0].percentile(0.99)
    for series in report.series[1:]:
        report.notes.append(f"{series.what}: p99 is {series.percentile(0.99) / idle:.2f} x idle")
    attacks = ", ".join(f"{count} of {name}" for name, count in found.sent.items())
    report.notes.append(f"attacks, each in {ATTACK_S:.0f} s: {attacks}")
    before, after = found.memory_mib
    report.notes.append(f"memory of the attacked worker: {before:.0f} MiB, then {after:.0f} MiB")
    report.notes.append("no command failed, and the term is the same: either ends the run")
    return report


async def words(grpc_address: str, _http: str, folder: Path) -> None:
    """Send one unknown word of 150 kB, with a certificate and no capability."""
    async with _channel(grpc_address, folder) as channel:
        execute = CommandServiceStub(channel).Execute
        with contextlib.suppress(grpc.aio.AioRpcError):
            await execute(ExecuteRequest(words=["e" * WORD_BYTES]), timeout=30)


async def refusals(grpc_address: str, _http: str, folder: Path) -> None:
    """Send a command that is refused, a hundred times over one connection."""
    async with _channel(grpc_address, folder) as channel:
        execute = CommandServiceStub(channel).Execute
        for _ in range(100):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await execute(ExecuteRequest(words=["status"]), timeout=30)


async def heads(_grpc: str, http: str, _folder: Path) -> None:
    """Send a header of 8 MiB over HTTPS."""
    await _send(http, b"GET /livez HTTP/1.1\r\nHost: a\r\nx: " + b"a" * BODY_BYTES)


async def trailers(_grpc: str, http: str, _folder: Path) -> None:
    """Send a trailer of 8 MiB over HTTPS."""
    head = b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: "
    await _send(http, head + b"a" * BODY_BYTES)


async def handshakes(grpc_address: str, http: str, _folder: Path) -> None:
    """Begin TLS handshakes at both ports and leave them unfinished."""
    for address in (grpc_address, http):
        host, _, port = address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as opened:
            opened.sendall(b"\x16\x03\x01\x02\x00")
            await asyncio.sleep(0.2)


ATTACKS: Final[dict[str, Callable[[str, str, Path], Awaitable[None]]]] = {
    "unknown words of 150 kB": words,
    "refused commands": refusals,
    "heads of 8 MiB": heads,
    "trailers of 8 MiB": trailers,
    "unfinished handshakes": handshakes,
}


def _channel(address: str, folder: Path) -> grpc.aio.Channel:
    ca, key, cert = ((folder / f"{each}.pem").read_bytes() for each in ("ca", "key", "cert"))
    return grpc.aio.secure_channel(
        address,
        grpc.ssl_channel_credentials(ca, key, cert),
        options=[("grpc.use_local_subchannel_pool", 1)],
    )


async def _send(address: str, data: bytes) -> None:
    host, _, port = address.rpartition(":")
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=anybody)
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()
            await reader.read()
        writer.transport.abort()


async def attack(name: str, grpc_address: str, http: str, folder: str) -> None:
    """Attack until killed; write a byte to the standard output after each."""
    os.nice(LOWEST_PRIORITY)

    async def repeat() -> None:
        while True:
            await ATTACKS[name](grpc_address, http, Path(folder))
            os.write(sys.stdout.fileno(), b".")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(repeat())


if __name__ == "__main__":
    asyncio.run(attack(*sys.argv[1:]))
