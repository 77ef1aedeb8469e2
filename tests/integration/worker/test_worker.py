"""A worker process from its first line to its exit, as its guard and its clients see it."""

import asyncio
import os
import signal
import socket
import sys
from itertools import pairwise
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mgr.clock import CLOCK
from mgr.election.records import Presence, encode
from mgr.errors import ModuleNotEnabledError, NotActiveError, UnreachableError
from mgr.link import (
    Drain,
    Drained,
    ExtendDeadline,
    Fenced,
    LeadershipReleased,
    ModulesChanged,
    PhaseChanged,
    Resign,
    Shutdown,
    StartFailed,
    WorkerHeartbeat,
)
from mgr.rpc.v1 import command_pb2, command_pb2_grpc
from mgr.store.api import Put
from tests.integration.worker.conftest import Worker

pytestmark = [pytest.mark.etcd, pytest.mark.timeout(60)]

SERVICE = command_pb2.DESCRIPTOR.services_by_name["CommandService"].full_name
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

OBEDIENT = """
import threading
from mgr_module import CLIReadCommand, CLIWriteCommand, HandleCommandResult, MgrModule


class Module(MgrModule):
    def __init__(self, *args):
        super().__init__(*args)
        self._stop = threading.Event()

    def serve(self):
        self._stop.wait()

    def shutdown(self):
        self._stop.set()

    @CLIReadCommand("obey say")
    def say(self, word: str = "yes") -> HandleCommandResult:
        return HandleCommandResult(stdout=word)

    @CLIWriteCommand("obey store")
    def store(self, word: str) -> HandleCommandResult:
        self.set_store("word", word)
        return HandleCommandResult(stdout=self.get_store("word"))

    @CLIReadCommand("obey wait")
    def wait(self, seconds: float) -> HandleCommandResult:
        self._stop.wait(seconds)
        return HandleCommandResult(stdout="waited")
"""


async def health(worker):
    """What ``grpc.health.v1`` says of the command service."""
    async with grpc.aio.insecure_channel(worker.opened.grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=2)
        return answer.status


async def active(workers, folder, *, span_s=600, **settings):
    """A worker that leads for ``span_s`` seconds, with the obedient module enabled."""
    folder("obey", OBEDIENT)
    worker = await workers(module_path=(folder.path,), **settings)
    await worker.switch("obey")
    await worker.ready()
    await worker.lead(span_s=span_s)
    return worker


async def announce(worker):
    """Write the presence of a warm standby, as its guard does."""
    presence = Presence(
        name=worker.name,
        incarnation="i",
        host="h",
        boot_id="",
        pid_namespace="",
        pid=1,
        pid_started=1,
        grpc_address=worker.opened.grpc_address,
        http_address=worker.opened.http_address,
        version="1",
        warm=True,
    )
    await worker.store.commit([Put(worker.keys.manager(worker.name), encode(presence))])


async def test_a_worker_is_warm_and_waits(workers):
    """It says what it has, opens its ports and refuses, naming nobody."""
    worker = await workers()

    ready = await worker.ready()

    assert {report.name for report in ready.modules} >= {"hello", "status", "selftest"}
    assert all(report.error == "" for report in ready.modules)
    assert await health(worker) == NOT_SERVING
    with pytest.raises((NotActiveError, UnreachableError)):
        await worker.ask("mgr", "stat", timeout_s=0.5)


async def test_a_worker_shows_from_its_first_moment_that_it_lives(workers, folder):
    """Heartbeats come while modules are imported, however long that takes."""
    folder("slow", "import threading\nthreading.Event().wait(1.5)\n")
    worker = await workers(module_path=(folder.path,), watchdog_s=0.3)
    await worker.receive(WorkerHeartbeat)
    worker.messages.clear()

    await worker.ready()

    beats = [message for message in worker.messages if isinstance(message, WorkerHeartbeat)]
    gaps = [b.sent_s - a.sent_s for a, b in pairwise(beats)]
    assert len(beats) > 10
    assert max(gaps) < 1.0


async def test_a_led_worker_answers_and_says_so(workers, folder):
    """Its own commands and those of modules, over gRPC; health and HTTP agree."""
    worker = await active(workers, folder)

    said = await worker.ask("obey", "say", word="hello")
    stored = await worker.ask("obey", "store", word="x")
    stat = await worker.ask("mgr", "stat")

    assert (said.retval, said.stdout) == (0, "hello")
    assert (stored.retval, stored.stdout) == (0, "x")
    assert '"available"' in stat.stdout
    assert await health(worker) == SERVING
    async with httpx.AsyncClient() as web:
        page = await web.get(f"http://{worker.opened.http_address}/active")
        metrics = await web.get(f"http://{worker.opened.http_address}/metrics")
    assert page.status_code == 200
    assert 'mgr_role{mgr_role="active"} 1.0' in metrics.text
    assert 'mgr_module_up{module="obey"} 1.0' in metrics.text


async def test_past_its_deadline_a_worker_stops_serving_by_itself(workers, folder):
    """No message says so. Commands are held, and go on when the same term is proven again."""
    worker = await active(workers, folder, span_s=1.0)
    assert await health(worker) == SERVING

    async def shut():
        return await health(worker) == NOT_SERVING

    await worker.until(shut)
    worker.send(PhaseChanged(phase="suspended"))
    async with asyncio.TaskGroup() as callers:
        held = callers.create_task(worker.ask("obey", "say"))
        await asyncio.sleep(0.1)
        assert not held.done()
        worker.send(ExtendDeadline(term=worker.term, deadline_s=CLOCK.now() + 60))
        worker.send(PhaseChanged(phase="active"))

    assert held.result().stdout == "yes"
    assert await health(worker) == SERVING
    story = (await worker.ask("log", "last")).stdout
    assert "a is suspended" in story
    assert "a is active again after" in story


async def test_a_module_is_enabled_and_disabled_in_place(workers, folder):
    """Within a fraction of a second, and no other module notices."""
    folder("other", OBEDIENT.replace("obey", "other"))
    worker = await active(workers, folder)
    began_s = CLOCK.now()
    answer = await worker.ask("mgr", "module", "enable", module="other")
    assert answer.retval == 0, answer
    assert (await worker.ask("other", "say")).stdout == "yes"
    assert CLOCK.now() - began_s < 2

    answer = await worker.ask("mgr", "module", "disable", module="other")
    assert answer.retval == 0, answer

    async def refused():
        try:
            await worker.ask("other", "say")
        except ModuleNotEnabledError as error:
            return str(error)
        return None

    assert "mgr module enable other" in await worker.until(refused)
    assert (await worker.ask("obey", "say")).stdout == "yes"


FAULTS = {
    "importing": "import no_such_thing_here",
    "syntax": "def broken(:",
    "constructor": """
        from mgr_module import MgrModule
        class Module(MgrModule):
            def __init__(self, *args):
                super().__init__(*args)
                raise OSError("port taken")
        """,
    "serving": """
        from mgr_module import MgrModule
        class Module(MgrModule):
            def serve(self):
                raise ValueError("boom")
        """,
    "leaving": """
        import os
        from mgr_module import MgrModule
        class Module(MgrModule):
            def serve(self):
                os._exit(7)
        """,
    "stopping": """
        import threading
        from mgr_module import MgrModule
        class Module(MgrModule):
            def serve(self):
                threading.Event().wait()
            def shutdown(self):
                threading.Event().wait()
        """,
}


async def test_a_standby_follows_a_reload_and_leads_with_the_new_code(workers, folder):
    """Also if it is promoted while it still reads them; and it says that its modules changed."""
    folder("obey", OBEDIENT)
    worker = await workers(module_path=(folder.path,))
    await worker.switch("obey")
    await worker.ready()
    file = Path(folder.path) / "obey" / "module.py"
    newer = OBEDIENT.replace('word: str = "yes"', 'word: str = "renewed"')
    file.write_text(f"{newer}\nthreading.Event().wait(0.5)\n")

    await worker.store.commit([Put(worker.keys.reload("obey"), "other files")])
    await worker.lead()
    news = await worker.receive(ModulesChanged)

    [report] = [one for one in news.modules if one.name == "obey"]
    assert "differ from those that the active" in report.outdated
    assert (await worker.ask("obey", "say")).stdout == "renewed"


async def test_bad_modules_are_named_and_harm_nobody(workers, folder):
    """Import, syntax, constructor, serve and exit: each in health and in the list."""
    for name, text in FAULTS.items():
        folder(name, text)
    folder("obey", OBEDIENT)
    worker = await workers(module_path=(folder.path,), drain_s=0.3)
    await worker.ready()
    for name in (*FAULTS, "obey"):
        await worker.switch(name)
    await worker.lead()

    async def reported():
        text = (await worker.ask("health", "detail")).stdout
        expected = ("no_such_thing_here", "invalid syntax", "port taken", "boom", "os._exit(7)")
        return text if all(each in text for each in expected) else None

    detail = await worker.until(reported)
    listed = (await worker.ask("mgr", "module", "ls")).stdout

    for name in ("importing", "syntax", "constructor", "serving", "leaving"):
        assert f"Module '{name}' has failed" in detail
    assert "no_such_thing_here" in listed
    assert (await worker.ask("obey", "say")).stdout == "yes"
    assert worker.process.returncode is None

    # The one that never stops is left behind, and the hand-over knows.
    worker.send(Drain(term=worker.term, budget_s=0.5))
    assert (await worker.receive(Drained)).quiesced is False


async def test_a_hand_over_finishes_what_runs_and_sends_the_rest_to_the_successor(workers, folder):
    """The running command is answered, the held one gets the new address, the worker exits."""
    worker = await active(workers, folder, drain_s=3.0)
    heir = await workers(id="b", module_path=(folder.path,))
    await heir.ready()

    async with asyncio.TaskGroup() as callers:
        running = callers.create_task(worker.ask("obey", "wait", seconds=0.5))
        await asyncio.sleep(0.2)
        worker.send(Drain(term=worker.term, budget_s=3.0))
        held = callers.create_task(worker.ask("obey", "say", timeout_s=8))
        drained = await worker.receive(Drained)
        assert await health(worker) == NOT_SERVING
        await announce(heir)
        await worker.release()
        worker.send(LeadershipReleased(term=worker.term))
        await heir.lead()

    assert drained.quiesced is True
    assert running.result().stdout == "waited"
    assert held.result().stdout == "yes"
    assert await worker.exited() == 0


async def test_a_lone_worker_that_released_leadership_does_not_linger(workers, folder):
    """There is nobody to send anyone to."""
    worker = await active(workers, folder)
    worker.send(Drain(term=worker.term, budget_s=1.0))
    assert (await worker.receive(Drained)).quiesced is True
    await worker.release()
    began_s = CLOCK.now()
    worker.send(LeadershipReleased(term=worker.term))

    assert await worker.exited() == 0
    assert CLOCK.now() - began_s < 2


async def refused_directly(worker, *words):
    """Ask this very worker, once: our client would look for another one. How it refused."""
    async with grpc.aio.insecure_channel(worker.opened.grpc_address) as channel:
        request = command_pb2.ExecuteRequest(words=words)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await command_pb2_grpc.CommandServiceStub(channel).Execute(request, timeout=5)
    return refused.value.code()


async def test_a_retired_worker_is_gone_at_once(workers, folder):
    """Though a command runs that will not end: its caller learns that the term was lost."""
    worker = await active(workers, folder)
    async with asyncio.TaskGroup() as callers:
        caller = callers.create_task(refused_directly(worker, "obey", "wait", "30"))
        await asyncio.sleep(0.2)
        worker.send(Shutdown(reason="deposed"))
        assert await worker.exited(within_s=1) == 0

    assert caller.result() is grpc.StatusCode.ABORTED


async def test_a_refused_write_is_reported_to_the_guard(workers, folder):
    """The store has judged: a successor exists."""
    worker = await active(workers, folder)
    await worker.release()

    refusal = await refused_directly(worker, "obey", "store", "late")

    # Not active, if one of the worker's own writes was refused before.
    assert refusal in {grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE}
    assert (await worker.receive(Fenced)).term == worker.term


async def test_mgr_fail_asks_the_guard(workers, folder):
    """The worker holds no leader key: it can only ask."""
    worker = await active(workers, folder)

    answer = await worker.ask("mgr", "fail")

    assert answer.retval == 0, answer
    assert (await worker.receive(Resign)).successor == ""


async def test_a_port_that_is_taken_ends_the_worker_with_one_line(workers):
    """The address is named, and no traceback hides it."""
    first = await workers()
    taken = (await first.ready()).grpc_address

    second = await workers(id="b", grpc_listen=taken)

    assert f"grpc_listen: cannot listen on {taken}" in (await second.receive(StartFailed)).why
    assert await second.exited(within_s=20) == 1
    log = second.log.read_text()
    assert f"cannot listen on {taken}" in log
    assert "Traceback" not in log


async def test_a_worker_dies_with_its_guard(workers):
    """End-of-file on the link is enough."""
    worker = await workers()
    await worker.ready()

    worker.writer.close()

    assert await worker.exited() in {1, -signal.SIGKILL}


async def test_a_worker_whose_guard_never_begins_goes_quietly(tmp_path):
    """The guard says itself why it could not become one."""
    ours, theirs = socket.socketpair()
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "mgr.worker", "--link-fd", str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            stdout=output,
            stderr=output,
        )
    theirs.close()

    ours.close()

    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert log.read_text() == ""


async def test_a_worker_dumps_its_stacks_when_asked(workers):
    """Before a silent worker is killed, its log names what it was doing."""
    worker = await workers()
    await worker.ready()

    os.kill(worker.process.pid, signal.SIGUSR1)

    async def dumped():
        return "Current thread" in worker.log.read_text()

    await worker.until(dumped)
    assert worker.process.returncode is None


@pytest.mark.timeout(120)
async def test_a_worker_is_alive_and_says_why_it_is_not_ready_while_etcd_is_away(
    tmp_path, own_etcd
):
    """Its HTTP port opens first; it becomes a standby by itself once etcd answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own_etcd.kill()
    worker = Worker(own_etcd.endpoints, tmp_path, http_listen=f"127.0.0.1:{port}")
    await worker.start()
    url = f"http://127.0.0.1:{port}"

    async with asyncio.TaskGroup() as tasks, httpx.AsyncClient(timeout=20) as browser:
        tasks.create_task(worker.listen())

        async def answers(path):
            try:
                return await browser.get(url + path)
            except httpx.ConnectError:
                return None

        try:
            alive = await worker.until(lambda: answers("/livez"), within_s=40)
            not_ready, active, page, metrics = [
                await answers(path) for path in ("/readyz", "/active", "/", "/metrics")
            ]
            own_etcd.start()
            own_etcd.wait_ready()
            await worker.ready()
            ready = await answers("/readyz")
        finally:
            await worker.stop()

    assert alive.status_code == 200
    # Whether pages need authentication stands in etcd, so none is shown yet.
    assert {each.status_code for each in (not_ready, active, page, metrics)} == {503}
    assert "not ready: etcd has not answered since this worker started" in not_ready.text
    assert ready.status_code == 200
