"""An instance in a process of its own, without a manager: a real zygote, a real process."""

import asyncio
import errno
import json
import pickle
from types import SimpleNamespace

import pytest

from mgr.clock import CLOCK
from mgr.command.command_errors import RaisedErrors
from mgr.errors import NotActiveError, NotAuthorizedError, OutcomeUnknownError, OverloadedError
from mgr.host.command_calls import CommandCalls
from mgr.host.execution import (
    CommandRequest,
    ModuleRaisedError,
    NotBegunError,
    ThreadExecution,
)
from mgr.host.finder import ModuleLocation
from mgr.host.limits import Limits
from mgr.module_process.execution import ProcessExecution, death_text
from mgr.module_process.process import ProcessEnd
from mgr.worker_trace import Step, StepKind
from tests.support.module_seed import seed
from tests.unit.module_process.conftest import ORDER

MODULE = '''
    import os, time
    from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule

    class Module(MgrModule):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.ran = []
            if self.get_store("fails"):
                raise ValueError("no such thing")

        def serve(self):
            raise KeyError("served")

        def notify(self, kind, tag):
            self.ran.append([kind, tag])
            if tag == "bad":
                raise ValueError("not that")

        @CLIWriteCommand("m run")
        def run(self, code: str) -> HandleCommandResult:
            """Execute"""
            self.ran.append(code)
            exec(code)
            return HandleCommandResult(stdout=repr(self.ran))
'''


class Host:
    """What the manager does for the instance: nothing but the first copies."""

    def __init__(self):
        self.entries = {}
        self.asked = []

    def connect(self, process):
        async def answer(name, args):
            self.asked.append((name, args))

        process.answer = answer
        return seed(self.entries)

    def close(self):
        pass


@pytest.fixture
def open_gate():
    """Whether commands may begin."""
    return [True]


@pytest.fixture
async def make(processes, folder, open_gate):
    """Make executions; all of them end with the test."""
    folder("m", MODULE)
    made = []
    async with asyncio.TaskGroup() as tasks:

        def make(host=None, commands_max=8):
            died = []
            execution = ProcessExecution(
                "m",
                start=lambda: processes.start("m"),
                order=ORDER.of(ModuleLocation("m", "m", f"{folder.path}/m/module.py")),
                host=host or Host(),
                standby=False,
                on_died=lambda crash, why: died.append((crash, why)),
                limits=Limits(commands_max=commands_max, may_begin=lambda: open_gate[0]),
                command_calls=CommandCalls(CLOCK),
                clock=CLOCK,
                tasks=tasks,
            )
            execution.died = died
            made.append(execution)
            return execution

        yield make
        for each in made:
            await each.end()


@pytest.fixture
async def execution(make):
    """A constructed one."""
    made = make()
    await made.construct()
    return made


def asked(code, *, mutates=True, deadline_s=60, permit=lambda: None):
    """A request to execute ``code`` in the module."""
    command = SimpleNamespace(prefix="m run", mutates=mutates)
    arguments = {"prefix": "m run", "code": code}
    return CommandRequest(command, arguments, "", CLOCK.now() + deadline_s, None, permit)


async def ran(execution):
    """What ran in the module."""
    retval, stdout, _ = await execution.command(asked("pass"))
    assert retval == 0
    return eval(stdout)


@pytest.fixture(params=["process", "thread"])
async def anywhere(request, make, monkeypatch):
    """A constructed instance: in a process, and in threads of this one."""
    if request.param == "process":
        made = make()
    else:
        module = SimpleNamespace(_handle_command=lambda _, arguments: exec(arguments["code"]))
        calls = CommandCalls(CLOCK)
        made = ThreadExecution(
            "m",
            lambda _: module,
            waiting_max=8,
            may_begin=lambda: True,
            clock=CLOCK,
            command_calls=calls,
        )
    await made.construct()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("open('/nowhere')", "FileNotFoundError"),
        ("class OddError(Exception): pass\nraise OddError", "OddError"),
        ("raise ExceptionGroup('two', [ValueError()])", "ExceptionGroup"),
        ("raise SystemExit(3)", "RuntimeError"),
    ],
)
async def test_only_an_administrator_gets_a_traceback(anywhere, caplog, code, kind):
    """Wherever the module runs; the others get the exception's name, and the log has the rest."""
    raised = RaisedErrors(CLOCK, lambda caller: caller == "root")
    command = SimpleNamespace(prefix="m run", module="m")

    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        await anywhere.command(asked(code))
    full, shown = (raised.text(command, caller, caught.value) for caller in ("root", "ada"))

    assert "Traceback (most recent call last)" in full
    assert kind in full
    assert shown == f"'m run' of module 'm' failed with {kind}: the manager's log has the reason"
    assert kind in caplog.text


async def test_what_a_module_raises_arrives_with_its_traceback(make):
    """In the constructor and in ``serve``, each with a report."""
    host = Host()
    host.entries = {"fails": "1"}

    with pytest.raises(ModuleRaisedError, match="no such thing") as caught:
        await make(host).construct()

    assert caught.value.crash.kind == "ValueError"
    assert "m/module.py" in caught.value.traceback
    good = make()
    await good.construct()
    with pytest.raises(ModuleRaisedError, match="served"):
        await good.serve()
    [(origin, error)] = await good.deliver(False, [("kind", "good"), ("kind", "bad")])  # noqa: FBT003 - as the runner calls it
    assert origin.value == "ActivePyModule::notify"
    assert error.crash.kind == "ValueError"
    assert (await ran(good))[:2] == [["kind", "good"], ["kind", "bad"]]
    assert good.died == []


async def test_a_command_begins_only_while_it_may(execution, open_gate):
    """The gate, its caller's rights and its deadline are looked at when its turn comes."""

    def refuse():
        raise NotAuthorizedError("not any more")

    open_gate[0] = False
    with pytest.raises(NotActiveError):
        await execution.command(asked("1"))
    open_gate[0] = True
    with pytest.raises(NotAuthorizedError):
        await execution.command(asked("2", permit=refuse))
    with pytest.raises(OverloadedError):
        await execution.command(asked("3", deadline_s=-1))
    # The process looks at the gate by itself, without a message.
    execution.process.open_gate(CLOCK.now() - 1)
    with pytest.raises(NotActiveError):
        await execution.command(asked("4"))
    execution.process.open_gate(CLOCK.now() + 60)

    assert await ran(execution) == ["pass"]


async def test_the_callers_of_a_process_that_died_learn_what_may_have_run(execution):
    """Of the command under way: it may have run; of those that wait: they did not begin."""
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(
            outcome(execution, asked("import time; time.sleep(0.2); os._exit(3)"))
        )
        await asyncio.sleep(0.05)
        second = tasks.create_task(outcome(execution, asked("pass")))

    assert isinstance(first.result(), OutcomeUnknownError)
    assert "exit status 3 in a command 'm run'" in str(first.result())
    assert isinstance(second.result(), NotBegunError)
    [(crash, why)] = execution.died
    assert crash.signal == "exit status 3"
    assert why == "its process ended by exit status 3 in a command 'm run'"
    assert execution.over


async def test_a_read_that_kills_its_process_is_answered(execution):
    """Nothing is unknown about it."""
    retval, _, stderr = await execution.command(
        asked("import ctypes; ctypes.string_at(0)", mutates=False)
    )

    assert retval == -errno.EIO
    assert "SIGSEGV" in stderr


async def test_a_command_whose_caller_is_gone_does_not_begin(execution):
    """One that has begun goes on, and the next one waits for it."""
    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(execution.command(asked("time.sleep(0.3)")))
        await asyncio.sleep(0.05)
        gone = tasks.create_task(execution.command(asked("gone")))
        await asyncio.sleep(0.05)
        gone.cancel()
        slow.cancel()

    assert await ran(execution) == ["time.sleep(0.3)", "pass"]


async def test_no_more_commands_wait_than_the_limit(make):
    """The next one is told to come back."""
    execution = make(commands_max=1)
    await execution.construct()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(execution.command(asked("time.sleep(0.2)")))
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadedError, match="1 commands waiting"):
            await execution.command(asked("pass"))


async def test_the_end_of_an_execution_is_nobodys_fault(execution):
    """It is killed whatever it does, and not reported."""
    async with asyncio.TaskGroup() as tasks:
        stuck = tasks.create_task(outcome(execution, asked("while True: pass")))
        await asyncio.sleep(0.1)
        assert await execution.end()

    assert execution.died == []
    assert execution.over
    assert isinstance(stuck.result(), OutcomeUnknownError)


async def test_what_is_sent_and_received_is_plain(execution):
    """A document that is too large for the module's answer is refused, by its size."""
    retval, _, stderr = await execution.command(asked("self.ran = 'x' * (1 << 27)"))

    assert retval == -errno.EFBIG
    assert "too large" in stderr
    assert json.dumps(execution.died) == "[]"


async def outcome(execution, request):
    """The error of a command."""
    try:
        return await execution.command(request)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error


def test_the_thread_that_died_names_what_the_module_was_asked():
    """Also if ``serve`` began later; without a stack a command counts more than ``serve``."""
    command = Step(1, 0x7F0000000001, 1, StepKind.COMMAND, "m", "m run")
    serve = Step(2, 0x7F0000000002, 2, StepKind.SERVE, "m")
    stack = "Current thread 0x00007f000000000{} (most recent call first):"

    def text(*stack):
        return death_text(ProcessEnd("SIGSEGV", (command, serve), stack))

    assert text(stack.format(1)) == "its process ended by SIGSEGV in a command 'm run'"
    assert text(stack.format(2)) == "its process ended by SIGSEGV in serve()"
    assert text() == "its process ended by SIGSEGV in a command 'm run'"


async def test_a_child_that_returns_from_a_command_is_ended(execution):
    """It answers nothing in place of its parent."""
    retval, _, _ = await execution.command(asked("os.fork()"))
    ran_after = [await ran(execution) for _ in range(4)]

    assert retval == 0
    assert [len(each) for each in ran_after] == [2, 3, 4, 5]


async def test_calls_of_other_modules_are_answered_when_no_more_threads_can_be_had(execution):
    """By the thread that there is, one after the other."""
    refuse = "def refuse(*_): raise RuntimeError('no thread')"
    await execution.command(asked(f"import threading\n{refuse}\nthreading.Thread.start = refuse"))
    payload = pickle.dumps((("kind", "good"), {}))

    async with asyncio.timeout(20):
        answers = [await execution.instance.call("notify", payload) for _ in range(3)]

    assert [kind for kind, _ in answers] == ["result"] * 3
