"""Runs the agent: one daemon for the host, one for each unit or process that it watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from mgr.agent.actions import Actions
from mgr.agent.crashes import Crashes
from mgr.agent.deploy.orders import Orders
from mgr.agent.facts import facts
from mgr.agent.host_metrics import HostMetrics
from mgr.agent.settings import HOST, AgentSettings, Watch
from mgr.agent.smart import devices
from mgr.agent.watched_units import sample
from mgr.client.daemon.daemon import AsyncDaemon
from mgr.client.messages import Answer
from mgr.errors import OverloadedError, ReplacedError

CRASHES_EVERY_S: Final = 30.0
POST_S: Final = 30.0
READ_S: Final = 10.0
"""Time limit for reading the host's metrics, which takes milliseconds."""

log = logging.getLogger(__name__)


async def serve(settings: AgentSettings, version: str, stop: asyncio.Event) -> None:
    """Run the host's agent until ``stop``.

    Raises:
        ReplacedError: Another program joined under the host's name.
        InvalidArgumentError: A daemon's name in the settings is invalid.

    """
    host = AsyncDaemon(
        HOST,
        settings.id,
        settings.hosts,
        version=version,
        metadata=facts(),
        on_replaced=_on_loop(stop.set),
        tls=settings.tls(),
    )
    Actions(settings, host)
    # Nothing is deployed to a host, and no folder is made, unless its owner allows something.
    deployed = Orders(settings.deploy, host, host.report_soon) if settings.deploy.kinds else None
    async with contextlib.AsyncExitStack() as daemons:
        watched = [(watch, _daemon(watch, settings, version)) for watch in settings.watch]
        for daemon in (host, *(each for _, each in watched)):
            await daemons.enter_async_context(daemon)
        async with asyncio.TaskGroup() as tasks:
            works = [
                _every(settings.read_every_s, "the host", _host_reader(HostMetrics(host), host)),
                *(
                    _watch_until_replaced(settings.read_every_s, watch, daemon)
                    for watch, daemon in watched
                ),
            ]
            if deployed is not None:
                works.append(deployed.run())
            if settings.smart:
                works.append(_every(settings.smart_every_s, "smartctl", _smart(host)))
            if settings.crash_dir:
                folder = Path(settings.crash_dir)
                works.append(_every(CRASHES_EVERY_S, "crashes", _crashes(folder, host)))
            started = [tasks.create_task(work) for work in works]
            await stop.wait()
            for task in started:
                task.cancel()
        if host.replaced:
            # Raised inside the block, so that the watched daemons are not removed from the fleet:
            # operators shall see that they are not reported any more.
            raise ReplacedError(
                f"{host.name}: another program joined under this name; "
                "give each host an id of its own"
            )


def _daemon(watch: Watch, settings: AgentSettings, version: str) -> AsyncDaemon:
    kind, ident = watch.daemon(settings.id)
    tls = settings.tls()
    fields = {"unit": watch.unit, "process": watch.process}
    return AsyncDaemon(
        kind,
        ident,
        settings.hosts,
        version=version,
        metadata={name: text for name, text in fields.items() if text},
        # The host's own daemon renews the certificate that they share.
        tls=tls and replace(tls, renews=False),
    )


async def _every(seconds: float, what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run ``work`` every ``seconds``; of failures in a row only the first is a warning."""
    failed_before = False
    while True:
        try:
            await work()
            failed_before = False
        except Exception as error:  # noqa: BLE001 - one failing reader must not stop the others
            log.log(
                logging.DEBUG if failed_before else logging.WARNING,
                "reading failed, retrying",
                extra={"what": what, "why": f"{type(error).__name__}: {error}"},
            )
            failed_before = True
        await asyncio.sleep(seconds)


def _host_reader(metrics: HostMetrics, host: AsyncDaemon) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        try:
            async with asyncio.timeout(READ_S):
                await host.gauge_thread.submit(metrics.read)
            host.status["meters"] = "ok"
        except (TimeoutError, OverloadedError):
            # A file system that hangs blocks the thread: report that instead of old values only.
            host.status["meters"] = "stuck"

    return work


async def _watch_until_replaced(seconds: float, watch: Watch, daemon: AsyncDaemon) -> None:
    """Sample ``watch`` every ``seconds`` until another program joins under its name."""
    replaced = asyncio.Event()
    daemon.on_replaced = _on_loop(replaced.set)

    async def work() -> None:
        await sample(watch, daemon)

    async with asyncio.TaskGroup() as tasks:
        sampling = tasks.create_task(_every(seconds, daemon.name, work))
        await replaced.wait()
        sampling.cancel()
    log.error(
        "watching stopped: another program joined under this name; "
        "give the daemon an id of its own in the settings",
        extra={"daemon": daemon.name},
    )


def _on_loop(call: Callable[[], None]) -> Callable[[], None]:
    """Return a function that another thread may call to run ``call`` on this loop."""
    loop = asyncio.get_running_loop()

    def from_elsewhere() -> None:
        loop.call_soon_threadsafe(call)

    return from_elsewhere


def _smart(host: AsyncDaemon) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        with contextlib.suppress(FileNotFoundError):
            host.devices(await devices())

    return work


def _crashes(folder: Path, host: AsyncDaemon) -> Callable[[], Awaitable[None]]:
    async def post(meta: bytes) -> Answer:
        return await host.execute(["crash", "post"], data=meta, timeout_s=POST_S)

    crashes = Crashes(folder, post)

    async def work() -> None:
        await crashes.post_all()

    return work
