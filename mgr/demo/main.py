"""mgr-demo: run an etcd and three managers on this machine, and show what to try with them.

For a first try only: a single etcd is no redundant store. Data and logs are kept in one folder, and
a second start uses the data of the first one. Every process that the demo starts ends with it; if
the demo itself is killed, the kernel kills them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from mgr.client.async_client import AsyncClient
from mgr.client.messages import ManagerInfo
from mgr.clock import CLOCK
from mgr.demo.machine import (
    DASHBOARD_PORTS,
    ETCD_PORT,
    GRPC_PORTS,
    HELLO_PORTS,
    HOST,
    HOSTS,
    HTTP_PORTS,
    DemoError,
    Etcd,
    etcd_command,
    find_etcd,
    program,
    refuse_taken_ports,
)
from mgr.demo.text import exit_text, short_path, what_to_try, worker_of
from mgr.errors import MgrError

START_LIMIT_S: Final = 60.0
"""Time limit to start an etcd, three managers and hold an election, on a slow machine."""
STOP_LIMIT_S: Final = 8.0
"""A process that takes longer than this to stop is killed; a hand-over drains for two seconds."""
POLL_EVERY_S: Final = 0.1
RESTART_PAUSE_S: Final = 1.0
QUICK_ENDS_MAX: Final = 3
"""A manager that ended this often before there was an active cannot start at all."""

# Requests the kernel to kill this process with its parent, checks that the parent still lives, and
# executes the program. In a process of its own, because Python code between fork and exec may hang
# in a program with threads, and gRPC has threads.
LAUNCHER: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)


@click.command(help=(__doc__ or "").partition("\n\n")[2])
@click.option("--dir", "folder", default=".demo", show_default=True, help="Where data and logs go")
@click.option("--once", is_flag=True, help="Start, run one command, stop: for tests")
def main(folder: str, *, once: bool) -> None:
    """Start the demo, wait for Ctrl-C, stop it. The exit status is 1 if it could not start."""
    try:
        refuse_taken_ports()
        demo = Demo(Path(folder).absolute(), find_etcd(), program("mgrd"))
        asyncio.run(demo.run(once=once))
    except DemoError as error:
        click.echo(f"mgr-demo: {error}", err=True)
        sys.exit(1)


class Demo:
    """One run of the demo: its processes, and the failure that ended it."""

    def __init__(self, folder: Path, etcd: Etcd, mgrd: str) -> None:
        """Keep data and logs under ``folder``."""
        self.folder = folder
        self.etcd = etcd
        self.mgrd = mgrd
        self.introduced = False
        self.failure: DemoError | None = None
        self.processes: dict[str, Process] = {}

    async def run(self, *, once: bool) -> None:
        """Start the processes, print what to try, wait for a signal, stop.

        Raises:
            DemoError: A process cannot start or has ended; nothing is left running.

        """
        work = asyncio.current_task()
        if work is None:
            raise AssertionError("a coroutine runs in a task")
        _on_signals(work.cancel)
        try:
            # A signal cancels this task at any ``await``; stopping comes next in every case.
            with contextlib.suppress(asyncio.CancelledError):
                await self._serve(once=once)
        except* DemoError as errors:
            self.failure = _first(errors)
        finally:
            # A second Ctrl-C must not interrupt the stopping, which has a time limit anyway.
            _on_signals(lambda: None)
            click.echo("\nstopping")
            await self._stop()
        if self.failure:
            raise self.failure

    async def _serve(self, *, once: bool) -> None:
        click.echo(f"etcd {self.etcd.version}, data and logs in {short_path(self.folder)}")
        if not self.etcd.trusted:
            click.echo(
                "This etcd is known to be faulty under failure: single node, development only.\n"
                "With etcd 3.5.28 or newer on PATH, the demo takes that one."
            )
        data = self.folder / "etcd"
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(self._run_etcd(etcd_command(self.etcd, data)))]
            await _wait_until_listening(ETCD_PORT)
            keepers += [group.create_task(self._keep_running(name)) for name in GRPC_PORTS]
            async with AsyncClient(HOSTS) as client:
                await self._introduce(client)
                if not once:
                    await self._follow(client)
            for keeper in keepers:
                keeper.cancel()

    # -- processes -----------------------------------------------------------------------------

    async def _spawn(self, name: str, command: Sequence[str]) -> Process:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())),
                *command,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                # Its own process group: Ctrl-C is sent to the demo only, which stops all in order.
                process_group=0,
            )
        self.processes[name] = process
        return process

    async def _run_etcd(self, command: Sequence[str]) -> None:
        process = await self._spawn("etcd", command)
        await process.wait()
        raise DemoError(f"etcd ended: {self._last_words('etcd')}")

    async def _keep_running(self, name: str) -> None:
        """Start a manager and restart it whenever it ends, as systemd would do."""
        for ends in range(1, sys.maxsize):
            process = await self._spawn(name, self._mgrd_command(name))
            status = await process.wait()
            if not self.introduced and ends == QUICK_ENDS_MAX:
                raise DemoError(f"manager {name} cannot start: {self._last_words(name)}")
            if self.introduced:
                click.echo(f"manager {name} {exit_text(status)}; starting it again")
            await asyncio.sleep(RESTART_PAUSE_S)

    def _mgrd_command(self, name: str) -> list[str]:
        command = [self.mgrd, "--id", name, "--cluster", "demo", "--etcd", f"{HOST}:{ETCD_PORT}"]
        command += ["--grpc-listen", f"{HOST}:{GRPC_PORTS[name]}"]
        command += ["--http-listen", f"{HOST}:{HTTP_PORTS[name]}"]
        command += ["--state-dir", str(self.folder / "state")]
        return command if self.etcd.trusted else [*command, "--etcd-untrusted", "true"]

    def _last_words(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        lines = path.read_text(errors="replace").strip().splitlines() or ["its log is empty"]
        return f"{lines[-1][:300]} ({short_path(path)})"

    async def _stop(self) -> None:
        """Stop the managers together, then etcd, which they need to release their keys."""
        etcd = self.processes.pop("etcd", None)
        async with asyncio.TaskGroup() as group:
            for process in self.processes.values():
                group.create_task(_end(process))
        if etcd:
            await _end(etcd)

    # -- what the user sees --------------------------------------------------------------------

    async def _introduce(self, client: AsyncClient) -> None:
        """Enable the tutorial's module and print what there is to try."""
        active, standbys = await self._wait_until_settled(client)
        for module, ports in (("hello", HELLO_PORTS), ("dashboard", DASHBOARD_PORTS)):
            for name, port in ports.items():
                option = f"mgr/{module}/{name}/server_port"
                await _run_command(client, "config", "set", "mgr", option, str(port))
        await _run_command(client, "mgr", "module", "enable", "hello")
        hello = await _run_command(client, "hello")
        self.introduced = True
        click.echo(f"the module hello says: {hello.strip()}\n")
        click.echo(what_to_try(active, standbys, self._pid(active.name)))

    async def _wait_until_settled(
        self, client: AsyncClient
    ) -> tuple[ManagerInfo, tuple[ManagerInfo, ...]]:
        """Wait until one manager is active and the others are standbys with known addresses."""
        limit = CLOCK.now() + START_LIMIT_S
        error: MgrError | None = None
        while CLOCK.now() < limit:
            try:
                status = await client.status()
                reachable = [other for other in status.standbys if other.grpc_address]
                if status.active and len(reachable) == len(GRPC_PORTS) - 1:
                    return status.active, status.standbys
            except MgrError as unanswered:
                error = unanswered
            await asyncio.sleep(POLL_EVERY_S)
        raise DemoError(
            f"not all managers are ready after {START_LIMIT_S:g} s: "
            f"see {short_path(self.folder)}/*.log"
        ) from error

    async def _follow(self, client: AsyncClient) -> None:
        """Print each new active, until cancelled."""
        first = True
        async for active in client.watch_active():
            if not first:
                worker = worker_of(self._pid(active.name))
                click.echo(f"{active.name} leads, term {active.term}; its worker: {worker}")
            first = False

    def _pid(self, name: str) -> int:
        return self.processes[name].pid


async def _run_command(client: AsyncClient, *words: str) -> str:
    """Run a command that must succeed; return its output."""
    answer = await client.execute(list(words), timeout_s=START_LIMIT_S)
    if answer.retval:
        raise DemoError(f"{' '.join(words)}: {answer.stderr}")
    return answer.text


async def _wait_until_listening(port: int) -> None:
    """Wait until a process listens on ``port``. Its early exit is reported by its own task."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(POLL_EVERY_S)
        else:
            writer.close()
            return


async def _end(process: Process) -> None:
    """Terminate a process; kill it if it does not end in time."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _on_signals(callback: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, callback)


def _first(errors: BaseExceptionGroup[DemoError]) -> DemoError:
    while True:
        error = errors.exceptions[0]
        if not isinstance(error, BaseExceptionGroup):
            return error
        errors = error
