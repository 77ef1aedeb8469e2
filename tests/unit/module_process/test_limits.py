"""Limits of real processes, enforced without cgroups."""

import asyncio
import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mgr.clock import CLOCK
from mgr.config.module_limits import (
    COMMAND_MAX,
    CPU_WEIGHT,
    MEMORY_MAX,
    OPEN_FILES_MAX,
    PROCESSES_MAX,
)
from mgr.host.command_calls import CommandCalls
from mgr.host.execution import CommandRequest
from mgr.host.finder import ModuleLocation
from mgr.host.limits import Limits
from mgr.module_process.execution import ProcessExecution
from mgr.module_process.limit_watch import LimitKind, LimitWatch, nice_of
from tests.unit.module_process.conftest import ORDER
from tests.unit.module_process.test_execution import MODULE, Host

OPTIONS = {
    MEMORY_MAX: "m=300M",
    OPEN_FILES_MAX: "m=64",
    PROCESSES_MAX: "m=40",
    CPU_WEIGHT: "m=20",
    COMMAND_MAX: "m=60",
}


@pytest.fixture
def options():
    """The manager's options; a test changes them."""
    return dict(OPTIONS)


@pytest.fixture
async def limited(processes, folder, options):
    """A module whose process is limited, and the watch."""
    folder("m", MODULE)
    died = []
    async with asyncio.TaskGroup() as tasks:
        watch = LimitWatch(options.get, CLOCK)

        async def start():
            process = await processes.start("m")
            watch.begin(process)
            return process

        execution = ProcessExecution(
            "m",
            start=start,
            order=ORDER.of(ModuleLocation("m", "m", f"{folder.path}/m/module.py")),
            host=Host(),
            standby=False,
            on_died=lambda _crash, why: died.append(why),
            limits=Limits(),
            command_calls=CommandCalls(CLOCK),
            clock=CLOCK,
            tasks=tasks,
        )
        watching = tasks.create_task(watch.run())
        await execution.construct()
        yield SimpleNamespace(execution=execution, watch=watch, died=died, options=options)
        await execution.end()
        watching.cancel()


async def run(limited, code):
    """Execute ``code`` in the module; its answer."""
    command = SimpleNamespace(prefix="m run", mutates=False)
    request = CommandRequest(command, {"prefix": "m run", "code": code}, "", CLOCK.now() + 60)
    return await limited.execution.command(request)


async def reached(limited, kind):
    """Wait until a limit was reached; what happened."""
    async with asyncio.timeout(30):
        while not (found := [e.text for e in limited.watch.reached() if e.kind is kind]):  # noqa: ASYNC110 - it looks twice a second
            await asyncio.sleep(0.05)
    return found[0]


async def test_memory_above_the_limit_is_refused(limited):
    """The module goes on, and health will say so."""
    with pytest.raises(MemoryError):
        await run(limited, "bytearray(1 << 30)")

    assert "300 MiB (mgr_module_memory_max)" in await reached(limited, LimitKind.MEMORY)
    assert (await run(limited, "pass"))[0] == 0
    assert limited.died == []


async def test_memory_of_what_it_starts_counts_too(limited):
    """The address space of each is within the limit; together they are above it."""
    code = (
        "import os, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        kept = b'x' * (150 << 20)\n"
        "        time.sleep(60)\n"
        "time.sleep(60)"
    )
    retval, _, stderr = await run(limited, code)

    assert retval == -errno.EIO
    assert "SIGKILL (its limit of memory is 300 MiB (mgr_module_memory_max))" in stderr
    assert "was killed" in await reached(limited, LimitKind.MEMORY)
    assert len(limited.died) == 1


async def test_open_files_above_the_limit_are_refused(limited):
    """As ``Too many open files``."""
    code = "kept = []\nwhile True: kept.append(open('/dev/null'))"
    with pytest.raises(OSError, match="Too many open files"):
        await run(limited, code)

    assert "64 are open" in await reached(limited, LimitKind.OPEN_FILES)


async def test_too_many_processes_end_it_with_all_of_them(limited):
    """A module that forks in a loop is killed within a second."""
    code = (
        "import os, time\n"
        "for _ in range(60):\n"
        "    if os.fork() == 0: time.sleep(60)\n"
        "time.sleep(60)"
    )
    _, _, stderr = await run(limited, code)

    assert "its limit is 40 processes and threads (mgr_module_processes_max)" in stderr
    assert "was killed" in await reached(limited, LimitKind.PROCESSES)


async def test_a_command_that_takes_too_long_ends_its_process(limited):
    """Also with a limit that was set meanwhile; the answer names it."""
    limited.options[COMMAND_MAX] = "m=0.5"
    limited.watch.reapply(frozenset({COMMAND_MAX}))

    _, _, stderr = await run(limited, "time.sleep(60)")

    assert "'m run' ran for more than 0.5 s (mgr_module_command_max)" in stderr
    assert "was killed" in await reached(limited, LimitKind.COMMAND_TIME)


async def test_the_weight_of_its_processor_time_holds_for_every_thread(limited):
    """Without cgroups it is a nice value, which an option may change."""
    pid, own = limited.execution.process.pid, os.getpriority(os.PRIO_PROCESS, 0)

    def nices():
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return {int(stat.rpartition(")")[2].split()[16]) for stat in stats}

    assert nices() == {nice_of(20, own)}
    limited.options[CPU_WEIGHT] = "m=5"
    limited.watch.reapply(frozenset({CPU_WEIGHT}))
    assert nices() == {nice_of(5, own)}


@pytest.mark.parametrize(
    ("own", "values"), [(0, [0, 7, 19, -20]), (-10, [-10, -3, 11, -20]), (10, [10, 17, 19, -11])]
)
def test_the_weight_is_beside_that_of_the_manager(own, values):
    """It may have a nice value of its own; without a limit modules have the same."""
    assert [nice_of(weight, own) for weight in (100, 20, 1, 10_000)] == values


async def test_a_module_that_closes_its_connection_is_killed_and_named(limited):
    """Nobody could call it any more; commands must not wait for it for ever."""
    retval, _, stderr = await run(limited, "import os; os.closerange(3, 60); time.sleep(60)")

    assert retval == -errno.EIO
    assert "(it closed its connection to the manager)" in stderr
