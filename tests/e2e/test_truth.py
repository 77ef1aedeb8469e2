"""What a client hears is true, however its manager died: real processes, killed."""

from __future__ import annotations

import json
import os
import signal
import textwrap

import grpc
import pytest

from mgr.errors import MayHaveRunError, ModuleFailedError
from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub
from tests.integration.rpc.reporting import Stream
from tests.support.cluster import wait_for

COUNTS = """
    import os
    import signal
    from pathlib import Path
    from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule

    FAILS = Path({flag!r})

    class Module(MgrModule):
        EFFECTS = "store"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if FAILS.exists():
                raise RuntimeError("not on this manager")

        @CLIWriteCommand("counts up")
        def up(self) -> HandleCommandResult:
            \"\"\"Count\"\"\"
            total = int(self.get_store("total") or 0) + 1
            self.set_store("total", str(total))
            return HandleCommandResult(stdout=str(total))

        @CLIWriteCommand("counts die")
        def die(self) -> HandleCommandResult:
            \"\"\"Count, and be killed before it is answered\"\"\"
            self.up()
            FAILS.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
ROUNDS = 5


@pytest.fixture
def flag(tmp_path):
    """Where this file is, the module's constructor raises."""
    return tmp_path / "fails"


@pytest.fixture
def cluster(start, tmp_path, flag):
    """Three managers with a module that counts."""
    package = tmp_path / "modules" / "counts"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text(textwrap.dedent(COUNTS.format(flag=str(flag))))
    running = start(module_path=tmp_path / "modules")
    running.settled()
    running.enable("counts")
    return running


def total(cluster):
    return json.loads(cluster.run("config-key", "dump", format="json").text).get("mgr/counts/total")


def test_a_command_whose_answer_is_lost_is_not_refused_by_a_module_that_fails(cluster, flag):
    """Applied and recorded; then its worker dies, and the successor's constructor raises."""
    with cluster.client() as client:
        first = client.execute(["counts", "up"], request_id="r-1")
        before = cluster.active()
        flag.touch()
        before.signal(signal.SIGKILL, worker=True)
        wait_for(lambda: cluster.active().name != before.name, "a successor")

        again = client.execute(["counts", "up"], request_id="r-1")
        with pytest.raises(ModuleFailedError):
            client.execute(["counts", "up"], request_id="r-2")

    assert (first.text, again.text) == ("1", "1")
    assert again.term == first.term
    assert total(cluster) == "1"


def test_a_command_that_may_have_run_is_not_refused_by_a_module_that_fails(cluster):
    """Killed after it was applied, before it was recorded: one call, two managers."""
    with cluster.client() as client, pytest.raises(MayHaveRunError):
        client.execute(["counts", "die"], timeout_s=20)

    assert total(cluster) == "1"


async def join(address, idents):
    """Join as these daemons, and lose the connections."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = ClusterServiceStub(channel)
        for ident in idents:
            stream = Stream(stub.Report())
            await stream.open("rgw", ident, incarnation=ident)


def daemons(cluster):
    return {each["id"] for each in json.loads(cluster.run("daemon", "ls", format="json").text)}


async def test_a_daemon_that_was_removed_stays_removed(start):
    """The worker is killed right after the answer, five times."""
    cluster = start()
    active = cluster.settled()
    idents = {f"n{number}" for number in range(ROUNDS)}
    await join(active.grpc_address, idents)
    wait_for(lambda: daemons(cluster) == idents, "the daemons")

    back = []
    for ident in sorted(idents):
        active = cluster.settled()
        worker = active.worker_pid
        with cluster.client() as client:
            assert client.execute(["daemon", "rm", f"rgw.{ident}"]).retval == 0
            os.kill(worker, signal.SIGKILL)
        back += daemons(cluster) & {ident}

    assert back == []
