"""Modules in processes of their own, on a real worker over a real etcd."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import pytest

from mgr.client import AsyncDaemon
from mgr.clock import CLOCK
from mgr.errors import MgrError, OutcomeUnknownError
from mgr.link import ActsOutside, ExtendDeadline
from mgr.store.api import Put

pytestmark = pytest.mark.timeout(120)

PROBE = '''
    import os, threading
    from mgr_module import CLIReadCommand, CLIWriteCommand, HandleCommandResult, MgrModule, Option

    class Module(MgrModule):
        MODULE_OPTIONS = [Option("place", default="here"), Option("size", type="size", default=1)]
        NOTIFY_TYPES = ["health", "command"]
        EFFECTS = "store"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.seen = []
            self.event = threading.Event()

        def serve(self):
            self.event.wait()

        def shutdown(self):
            self.event.set()

        def notify(self, kind, tag):
            self.seen.append([kind, tag])

        def config_notify(self):
            self.seen.append(["config", self.get_module_option("place")])

        @CLIReadCommand("probe do")
        def do(self, code: str) -> HandleCommandResult:
            """Evaluate"""
            return HandleCommandResult(stdout=repr(eval(code, {"self": self, "os": os})))

        @CLIWriteCommand("probe run")
        def run(self, code: str) -> HandleCommandResult:
            """Execute"""
            exec(code, {"self": self, "os": os})
            return HandleCommandResult()

        def add(self, left, right=0):
            return left + right

        def fail(self):
            raise KeyError("inside")
'''


@pytest.fixture
async def worker(workers, folder):
    """An active whose modules run in processes; ``probe`` is enabled."""
    folder("probe", PROBE)
    folder("other", PROBE.replace("probe ", "other "))
    made = await workers(module_path=[folder.path])
    option = made.keys.option("mgr", "mgr_module_isolation")
    await made.store.commit([Put(option, "process hello=thread")])
    for name in ("probe", "other", "hello"):
        await made.switch(name)
    await made.ready()
    await made.lead()
    return made


async def do(worker, code, module="probe"):
    """Evaluate ``code`` in the module; the value."""
    answer = await worker.ask(module, "do", code=code)
    assert answer.retval == 0, answer
    return eval(answer.stdout)


async def run(worker, code, module="probe"):
    """Execute ``code`` in the module."""
    answer = await worker.ask(module, "run", code=code)
    assert answer.retval == 0, answer


async def test_a_module_reaches_everything_from_its_process(worker):
    """Options, store, maps, documents, health, log, other modules: as in the worker's threads."""
    own = await do(worker, "os.getpid()")
    assert own not in {worker.process.pid, await do(worker, "os.getpid()", "other")}

    await run(
        worker,
        "self.set_module_option('place', 'Rome'); self.got = self.get_module_option('place')",
    )
    assert await do(worker, "self.got") == "Rome"
    await run(worker, "self.set_store('k', 'v'); self.got = self.get_store('k')")
    assert await do(worker, "self.got, self.get_store_prefix('')") == ("v", {"k": "v"})
    await run(worker, "self.set_store('k', None); self.got = self.get_store('k')")
    assert await do(worker, "self.got") is None
    await worker.ask("config", "set", who="mgr", name="mgr/probe/place", value="Oslo")
    assert await do(worker, "self.get_module_option('place')") == "Oslo"
    assert ["config", "Oslo"] in await do(worker, "self.seen")
    assert await do(worker, "self.get('mgr_map')['active_name']") == "a"
    assert await do(worker, "self.get('mgr_map') == self.get('mgr_map')")
    await run(worker, "self.set_map('m', {'a': 1}); self.got = self.get('m'), self.get_map('m')[1]")
    assert await do(worker, "self.got") == ({"a": 1}, {"a": 1})
    await run(worker, "self.set_map('m', {'a': 2}); self.got = self.get('m')")
    assert await do(worker, "self.got") == {"a": 2}
    check = {"P_X": {"severity": "warning", "summary": "odd", "count": 1, "detail": ["d"]}}
    await run(worker, f"self.set_health_checks({check!r}); self.got = self.get('health')['json']")
    assert "P_X" in await do(worker, "self.got")
    assert "P_X" in (await worker.ask("health", "detail")).stdout
    await run(worker, "self.log.error('said by the module')")
    assert "modules.probe: said by the module" in worker.log.read_text()
    assert await do(worker, "self.remote('other', 'add', 1, right=2)") == 3
    assert await do(worker, "self.remote('probe', 'add', [1], right=[2])") == [1, 2]
    assert (await do(worker, "tuple(self.mon_command({'prefix': 'version'}))"))[0] == 0
    hello = await worker.ask("hello")
    assert hello.retval == 0
    version = await worker.ask("probe", "do", code="self.remote('hello', 'no_such')")
    assert "NameError: Method not found" in version.stderr
    failed = await worker.ask("probe", "do", code="self.remote('other', 'fail')")
    assert "KeyError" in failed.stderr
    assert "inside" in failed.stderr


async def test_a_module_that_dies_is_back_at_once_and_named(worker):
    """The command under way may have run; the queued ones wait; nobody else notices."""
    first = await do(worker, "os.getpid()")

    async def dies():
        with pytest.raises(OutcomeUnknownError, match="exit status 3"):
            await worker.ask("probe", "run", code="import time; time.sleep(0.3); os._exit(3)")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dies())
        await asyncio.sleep(0.1)
        queued = tasks.create_task(worker.ask("probe", "do", code="os.getpid()"))
    second = int(queued.result().stdout)

    assert second != first
    assert worker.process.returncode is None
    health = json.loads((await worker.ask("health", "detail", format="json")).stdout)
    assert "exit status 3 in a command 'probe run'" in json.dumps(health)
    assert "the process of a module ended by itself" in worker.log.read_text()
    answer = await worker.ask("probe", "do", code="__import__('ctypes').string_at(0)")
    assert answer.retval < 0
    assert "SIGSEGV" in answer.stderr


async def test_a_module_that_does_not_stop_is_killed_with_all_it_started(worker):
    """Nothing of it acts when ``disable`` has returned."""
    await run(
        worker,
        "import subprocess; self.sub = subprocess.Popen(['setsid', 'sleep', '77']).pid; "
        "self.shutdown = self.event.clear",
    )
    sub = await do(worker, "self.sub")

    answer = await worker.ask("mgr", "module", "disable", module="probe", timeout_s=20)

    assert answer.retval == 0, answer
    assert answer.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(sub, 0)
    assert "MGR_MODULE_ABANDONED" not in (await worker.ask("health", "detail")).stdout


async def test_a_suspension_costs_a_module_that_acts_outside_and_not_the_worker(workers, folder):
    """It ends at the deadline of the term; once that is confirmed again, it is back."""
    folder("outside", PROBE.replace("probe ", "outside ").replace('"store"', '"external"'))
    folder("probe", PROBE)
    worker = await workers(module_path=[folder.path])
    option = worker.keys.option("mgr", "mgr_module_isolation")
    await worker.store.commit([Put(option, "process")])
    for name in ("probe", "outside"):
        await worker.switch(name)
    await worker.ready()
    await worker.lead(span_s=20)
    first = await do(worker, "os.getpid()", "outside")
    inside = await do(worker, "os.getpid()")

    # The gate takes the latest deadline only: the guard's own would be the end of these.
    deadline_s = CLOCK.now() + 21
    worker.send(ExtendDeadline(term=worker.term, deadline_s=deadline_s))
    assert not any(isinstance(message, ActsOutside) for message in worker.messages)
    async with asyncio.timeout(60):
        while Path(f"/proc/{first}").exists():  # noqa: ASYNC110, ASYNC240 - another process ends
            await asyncio.sleep(0.05)
    assert CLOCK.now() >= deadline_s
    worker.send(ExtendDeadline(term=worker.term, deadline_s=CLOCK.now() + 60))

    assert await worker.until(lambda: answered(worker, "outside")) != first
    assert await do(worker, "os.getpid()") == inside
    assert worker.process.returncode is None


async def answered(worker, module):
    """The module's process id; 0 while it does not answer."""
    try:
        return await do(worker, "os.getpid()", module)
    except (MgrError, AssertionError):
        return 0


STANDBY = """
    import os, threading
    from mgr_module import MgrModule, MgrStandbyModule, Option

    class Module(MgrModule):
        MODULE_OPTIONS = [Option("place", default="here")]
        EFFECTS = "store"

        def serve(self):
            self.set_store("k", "v")
            self.set_uri("http://a/")

    class Standby(MgrStandbyModule):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.event = threading.Event()

        def serve(self):
            while not self.event.wait(0.05):
                read = self.get_active_uri(), self.get_store("k"), self.get_module_option("place")
                self.log.error("standby %s reads %s", os.getpid(), read)

        def shutdown(self):
            self.event.set()
"""


async def test_a_standby_class_runs_in_a_process_too(workers, folder):
    """It reads what the active wrote, dies alone, and ends before the promotion."""
    folder("half", STANDBY)
    active, standby = [await workers(id=name, module_path=[folder.path]) for name in "ab"]
    option = active.keys.option("mgr", "mgr_module_isolation")
    place = active.keys.option("mgr", "mgr/half/place")
    await active.store.commit([Put(option, "process"), Put(place, "Rome")])
    await active.switch("half")
    await active.ready()
    await active.lead()
    await standby.ready()

    async def reads():
        found = re.findall(r"standby (\d+) reads (.*)", standby.log.read_text())
        good = [pid for pid, read in found if read == "('http://a/', 'v', 'Rome')"]
        return good and int(good[-1])

    first = await standby.until(reads, within_s=60)
    assert first != standby.process.pid
    os.kill(first, signal.SIGSEGV)

    async def back():
        pid = await reads()
        return pid != first and pid

    await standby.until(back, within_s=60)
    assert standby.process.returncode is None
    assert "ended by SIGSEGV in serve()" in standby.log.read_text()


async def test_top_shows_what_modules_use_wherever_they_run(worker):
    """Memory, files and the processor's time of a process; threads of the worker's modules."""
    for _ in range(3):
        await do(worker, "1")
    answer = await worker.ask("module", "top", format="json", session_id="s")
    found = {each["module"]: each for each in json.loads(answer.stdout)}

    probe, hello = found["probe"], found["hello"]
    assert probe["isolation"] == "process"
    assert probe["pid"] == await do(worker, "os.getpid()")
    assert probe["resident_bytes"] > probe["proportional_bytes"] > 1 << 20
    assert probe["threads"] >= 3
    assert probe["open_files"] > 3
    assert probe["p99_ms"] > 0
    assert probe["interpreter_wait_ms"] >= 0
    assert (hello["isolation"], hello["pid"]) == ("thread", worker.process.pid)
    assert hello["resident_bytes"] is None
    await do(worker, "sum(range(10 ** 7))")
    again = json.loads((await worker.ask("module", "top", format="json", session_id="s")).stdout)
    busy = next(each for each in again if each["module"] == "probe")
    assert busy["cpu_percent"] > 0
    assert busy["commands_per_s"] > 0


async def test_a_limit_that_bites_is_named_in_health(worker):
    """An option that is set while the module runs takes effect at once."""
    option = worker.keys.option("mgr", "mgr_module_memory_max")
    await worker.store.commit([Put(option, "probe=314572800")])

    async def refused():
        answer = await worker.ask("probe", "do", code="len(bytearray(1 << 30))")
        return "MemoryError" in answer.stderr

    await worker.until(refused)

    async def named():
        return "MGR_MODULE_MEMORY" in (await worker.ask("health", "detail")).stdout

    await worker.until(named)
    text = (await worker.ask("health", "detail")).stdout
    assert "Module 'probe' was refused memory: its limit of memory is 300 MiB" in text


async def test_counters_of_daemons_are_read_in_memory(worker):
    """The newest value after each report, and rows of all daemons, as in the worker's threads."""
    async with AsyncDaemon("osd", "1", [worker.opened.grpc_address]) as daemon:
        daemon.counter("c").inc(3)

        async def counted():
            return (await do(worker, "self.get_latest('osd', '1', 'osd.c')")) == 3

        await worker.until(counted, within_s=30)
        points = await do(worker, "self.get_counter('osd', '1', 'osd.c')['osd.c']")
        assert points[-1][1] == 3
        rows = await do(
            worker,
            "[(e['counters'][0]['path'], list(e['rows']['osd.1'])[1:], type(e['rows']['osd.1']))"
            "[:2] for e in self.get_counter_rows()]",
        )
        assert rows == [("osd.c", [3.0])]
        pid = await do(worker, "os.getpid()")
        assert "mgr-counters" in mapped(pid)


def mapped(pid):
    """The files that a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()
