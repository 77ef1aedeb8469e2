"""The examples for Node.js against the managers' own servers: written from the protos alone."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from mgr.cluster.daemon import DaemonCommand, DaemonState, ReportConfig
from mgr.cluster.fleet_options import FleetOptions
from tests.integration.rpc.cluster import cluster, until

pytestmark = pytest.mark.slow  # starts programs

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples/node"
OLDEST = 18
INSTALL_S = 120
ENDED_S = 20
OPTIONS = FleetOptions(report_config=ReportConfig(period_s=0.1))


def version_of(program):
    """The major version of a program; 0 if it is not here."""
    if shutil.which(program) is None:
        return 0
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return int(re.search(r"\d+", said.stdout)[0])


@pytest.fixture(scope="session")
def examples():
    """A copy of the examples with their packages, kept in .cache for the next run."""
    if version_of("node") < OLDEST or not version_of("npm"):
        pytest.skip(f"no Node.js of version {OLDEST} or newer, or no npm: examples not run")
    lock = hashlib.sha256((EXAMPLES / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = ROOT / f".cache/node-{lock}"
    if not (folder / "node_modules").exists():
        making = folder.with_suffix(f".{os.getpid()}")
        making.mkdir(parents=True)
        for file in EXAMPLES.glob("package*.json"):
            shutil.copy(file, making)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        ran = subprocess.run(  # noqa: PLW1510 - a machine may have no registry
            command, cwd=making, capture_output=True, text=True, timeout=INSTALL_S
        )
        if ran.returncode:
            shutil.rmtree(making)
            pytest.skip(f"npm cannot fetch packages, examples not run: {ran.stderr[-200:]}")
        making.replace(folder)
    for file in EXAMPLES.glob("*.mjs"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture
async def node(examples):
    """Start one of the examples; all that run are killed with the test."""
    running = []

    async def started(script, *words, hosts):
        environment = {
            "PATH": os.environ["PATH"],
            "MGR_HOSTS": ",".join(hosts),
            "MGR_PROTO": str(ROOT / "proto"),
        }
        running.append(
            await asyncio.create_subprocess_exec(
                "node", str(examples / script), *words, env=environment, stdout=PIPE, stderr=PIPE
            )
        )
        return running[-1]

    yield started
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def outcome(process):
    """Wait until it has ended: its exit status, and what it printed on both channels."""
    async with asyncio.timeout(ENDED_S):
        out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


@pytest.fixture
async def three():
    async with cluster("a", "b", "c") as managers:
        managers.promote("b", 5).fleet.options = OPTIONS
        yield managers


async def test_a_command_follows_the_hint_of_a_standby(three, node):
    """It asks a standby first, which refuses and names the active."""
    hosts = three.hosts[:1]

    process = await node("execute.mjs", "echo", "hello", hosts=hosts)

    assert await outcome(process) == (0, "hello", "b\n")


async def test_a_command_that_failed_is_an_exit_status(three, node):
    """As with mgrctl: the errno of its answer."""
    status, out, error = await outcome(await node("execute.mjs", "refuse", hosts=three.hosts))

    assert (status, out, error) == (22, "", "no\n")


async def test_a_command_is_repeated_under_its_id_and_applied_once(three, node):
    """The active dies with the command; the next one gets the same request, and its age."""
    three["b"].role.hold.clear()
    process = await node("execute.mjs", "count", hosts=three.hosts)
    await until(lambda: three["b"].role.requests)

    three.promote("c", 6, among=["a", "c"])
    await three["b"].server.close(0)
    status, out, _ = await outcome(process)

    assert (status, out) == (0, "1")
    [first], [second] = three["b"].role.requests, three["c"].role.requests
    assert first.request_id == second.request_id != ""
    assert three["b"].ledger.count == 1


async def test_nobody_there_is_no_answer(node):
    """Nothing ran, and it says so, with a status that is no errno."""
    status, _, error = await outcome(await node("execute.mjs", "x", hosts=["127.0.0.1:1"]))

    assert status == 255
    assert error.startswith("execute: nothing ran: ")


async def test_a_daemon_reports_answers_and_follows_a_failover(three, node):
    """Each kind of counter, a status and a command; all of it again at the next active."""
    fleet = three["b"].role.fleet
    process = await node("daemon.mjs", hosts=three.hosts)

    def newest(of, path):
        known = of.daemons.get("web.node-1")
        slot = known and known.ring.schema.slot(path)
        return slot and known.ring.latest(slot)

    await until(lambda: (newest(fleet, "web.requests") or [0, 0])[1] > 1)
    daemon = fleet.daemons["web.node-1"]
    requests, latency = newest(fleet, "web.requests"), newest(fleet, "web.latency")
    assert daemon.state is DaemonState.REPORTING
    assert daemon.status == {"state": "ok"}
    assert daemon.record.metadata["runtime"].startswith("node v")
    assert sum(latency[1:5]) == requests[1]
    result = await daemon.stream.run_command(DaemonCommand(("greet", "Ada"), {}), timeout_s=5)
    assert (result.retval, result.stdout[:10]) == (0, "Hello, Ada")

    successor = three.promote("c", 6, among=["a", "c"]).fleet
    successor.options = OPTIONS
    await three["b"].server.close(0)
    await until(lambda: newest(successor, "web.requests"))
    assert newest(successor, "web.requests")[1] >= requests[1]
    assert successor.daemons["web.node-1"].status == {"state": "ok"}

    process.send_signal(signal.SIGTERM)
    status, out, error = await outcome(process)
    assert (status, out, error) == (0, "joined\njoined\n", "")
    assert "web.node-1" not in successor.daemons
    assert three["b"].role.refused == three["c"].role.refused == []


async def test_of_two_daemons_with_one_name_the_newer_stays(three, node):
    """The older one ends, and says why."""
    older = await node("daemon.mjs", hosts=three.hosts)
    await until(lambda: "web.node-1" in three["b"].role.fleet.daemons)
    newer = await node("daemon.mjs", hosts=three.hosts)

    status, _, error = await outcome(older)

    assert status == 1
    assert "another program joined as web.node-1" in error
    assert newer.returncode is None
