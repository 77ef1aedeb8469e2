"""The selftest module: it finds what is broken, and breaks things when it is told to."""

import errno
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from modules.selftest import faults
from modules.selftest.checks import CHECKS, CheckFailed
from modules.selftest.module import Module
from tests.support.context import command, run

TIMEOUT_S = 10


@pytest.fixture
def selftest():
    module, context = run(Module, "selftest")
    context.answers["health"] = (0, "HEALTH_OK", "")
    return module


@pytest.fixture
def context(selftest):
    return selftest._context


def test_every_check_passes_where_the_promises_are_kept(selftest, context):
    """The tests' own context keeps them; nothing is left behind."""
    retval, text, words = command(selftest, "mgr self-test run")

    assert (retval, words) == (0, "")
    assert json.loads(text) == dict.fromkeys(CHECKS, "ok")
    assert context.store == context.stored_options == context.health == {}
    assert context.uri == ""
    assert selftest.self_test() is None


def drop_writes(context):
    context.set_store = lambda _key, _value: None


def untyped(context):
    real = context.get_option

    def get_option(*args, **kwargs):
        value = real(*args, **kwargs)
        return None if value is None else str(value)

    context.get_option = get_option


def unlocalized(context):
    real = context.get_option
    context.get_option = lambda module, name, **_: real(module, name)


def unsorted(context):
    real = context.get_store_prefix
    context.get_store_prefix = lambda prefix: dict(reversed(real(prefix).items()))


def unchecked(context):
    def set_option(module, name, value, *, localized=False):
        context.stored_options[f"{module}/{name}"] = value

    context.set_option = set_option


def by_reference(context):
    def remote(module, method, args, kwargs):
        return getattr(context.neighbours[module], method)(*args, **kwargs)

    context.remote = remote


@pytest.mark.parametrize(
    ("break_it", "caught_by"),
    [
        (drop_writes, "store_keeps"),
        (untyped, "options_are_typed"),
        (unlocalized, "options_are_localized"),
        (unsorted, "store_has_prefixes"),
        (unchecked, "options_are_bounded"),
        (by_reference, "remote_copies"),
        (by_reference, "remote_fails_by_kind"),
    ],
)
def test_a_broken_promise_is_found(selftest, context, break_it, caught_by):
    """The command answers with EIO, the check's name, and what was expected."""
    break_it(context)

    retval, text, words = command(selftest, "mgr self-test run", check=caught_by)

    assert retval == -errno.EIO
    assert words == "1 of 1 checks failed"
    assert json.loads(text)[caught_by] != "ok"
    with pytest.raises(CheckFailed):
        selftest.self_test()


def test_an_unknown_check_is_refused(selftest):
    """With the names of those there are."""
    retval, _, words = command(selftest, "mgr self-test run", check="x")

    assert retval == -errno.ENOENT
    assert words.startswith("no check 'x': there are options_are_typed, ")
    assert set(json.loads(command(selftest, "mgr self-test ls")[1])) == set(CHECKS)


def test_another_modules_own_test_is_run(selftest):
    """What it raises is reported, not passed on."""
    assert command(selftest, "mgr self-test module", module="selftest").stdout == "Self-test OK"
    retval, _, words = command(selftest, "mgr self-test module", module="nobody")
    assert (retval, words) == (-errno.EIO, "Test failed: Module not found")


def test_options_are_shown_as_a_module_reads_them(selftest, context):
    """Localized or not."""
    context.set_option("selftest", "text", "here", localized=True)

    assert command(selftest, "mgr self-test config get", key="text").stdout == "unset"
    assert command(selftest, "mgr self-test config get_localized", key="text").stdout == "here"
    assert command(selftest, "mgr self-test python-version").stdout.startswith("3.")


def test_ceph_scripts_find_their_options_and_commands(selftest, context):
    """An unknown option is named, and is no traceback."""
    assert command(selftest, "mgr self-test config get", key="testkey").stdout == "None"
    context.set_option("selftest", "testkey", "x")
    assert command(selftest, "mgr self-test config get", key="testkey").stdout == "x"
    for word in ("get", "get_localized"):
        retval, _, words = command(selftest, f"mgr self-test config {word}", key="no")
        assert retval == -errno.ENOENT
        assert words.startswith("no option 'no': there are text, number")


def test_calls_between_modules_are_tested(selftest, context):
    """As by Ceph's command; a broken promise is named."""
    assert command(selftest, "mgr self-test remote").stdout == "Successfully called"
    by_reference(context)
    retval, _, words = command(selftest, "mgr self-test remote")
    assert (retval, "Test failed: CheckFailed: remote" in words) == (-errno.EIO, True)


def test_the_clock_of_insights_is_moved(selftest, context):
    """If that module of Ceph's runs; otherwise the answer says what to do."""
    retval, _, words = command(selftest, "mgr self-test insights_set_now_offset", hours=3)
    assert (retval, "enable it first" in words) == (-errno.ENOENT, True)

    class Insights:
        def testing_set_now_time_offset(self, hours):
            self.hours = hours

    context.neighbours["insights"] = Insights()
    assert command(selftest, "mgr self-test insights_set_now_offset", hours=3) == (0, "", "")
    assert context.neighbours["insights"].hours == 3


def test_health_checks_are_raised_and_cleared(selftest, context):
    """By name or all at once; what is no JSON is refused."""
    checks = json.dumps({"A": {"severity": "warning"}, "B": {}})
    assert command(selftest, "mgr self-test health set", checks=checks) == (0, "", "")
    assert sorted(context.health) == ["A", "B"]
    command(selftest, "mgr self-test health clear", checks=["A"])
    assert sorted(context.health) == ["B"]
    command(selftest, "mgr self-test health clear")
    assert context.health == {}
    for bad in ("{", "[]"):
        assert command(selftest, "mgr self-test health set", checks=bad)[0] == -errno.EINVAL


def test_a_cluster_log_line_is_written(selftest, context):
    """With a priority by name."""
    ask = {"channel": "cluster", "message": "hey"}

    assert command(selftest, "mgr self-test cluster-log", priority="error", **ask) == (0, "", "")
    assert context.cluster_lines == [("cluster", 4, "hey")]
    refused = command(selftest, "mgr self-test cluster-log", priority="loud", **ask)
    assert refused[2].startswith("no priority 'loud': use debug,")


def test_tokens_are_counted(selftest):
    """How often each was applied, whichever command did it."""
    assert command(selftest, "selftest append", token="a")[1] == "1"
    assert command(selftest, "selftest append", token="a")[1] == "2"
    assert command(selftest, "selftest put", token="b/c")[1] == "1"

    assert json.loads(command(selftest, "selftest applied")[1]) == {"a": 2, "b/c": 1}
    assert command(selftest, "selftest append", token="")[0] == -errno.EINVAL
    command(selftest, "selftest forget")
    assert command(selftest, "selftest applied")[1] == "{}"


def test_only_what_is_declared_idempotent_is():
    """The difference is what tests of failover look at."""
    commands = Module.CLICommand.COMMANDS

    assert commands["selftest put"].idempotent
    assert not commands["selftest append"].idempotent


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_it_spins_until_it_is_stopped(selftest, thread):
    """One workload at a time."""
    served = thread.submit(selftest.serve)
    assert command(selftest, "mgr self-test background start", workload="spin") == (0, "", "")
    refused = command(selftest, "mgr self-test background start", workload="throw")
    assert refused == (-errno.EBUSY, "", "already at work: spin")

    command(selftest, "mgr self-test background stop")
    selftest.shutdown()

    assert served.result(TIMEOUT_S) is None


def test_it_throws_on_command(selftest, thread):
    """Out of ``serve``, where the host sees it."""
    served = thread.submit(selftest.serve)

    command(selftest, "mgr self-test background start", workload="throw")

    assert isinstance(served.exception(TIMEOUT_S), RuntimeError)


def test_it_can_hold_the_interpreter_lock(selftest):
    """A thread that would tick does not, as long as it lasts."""
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    command(selftest, "selftest block", secs=0.3)
    during = len(ticks) - before
    stop.set()
    thread.join(TIMEOUT_S)

    assert during < 100


def test_it_can_end_its_process():
    """At once, with a status of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", "from modules.selftest.faults import crash; crash()"],
        check=False,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode == faults.CRASH_STATUS


def test_it_can_keep_its_thread_busy(selftest):
    """For as long as was asked."""
    assert command(selftest, "selftest sleep", secs=0.01) == (0, "", "")


def test_the_keys_that_it_watches_are_notified_in_order(selftest, context):
    """As it was told of them; others it does not hear of."""
    context.on_notification = selftest.notify

    for key in ("watched/a", "other", "watched/b"):
        context.set_store(key, "x")
    selftest.notify("health", "")

    assert json.loads(command(selftest, "selftest notifications")[1]) == ["watched/a", "watched/b"]
