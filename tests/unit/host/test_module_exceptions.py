"""Whatever a module raises is an error of that module: nothing of the host ends because of it."""

import asyncio
import threading

import pytest

from mgr.host.lifecycle import Phase
from mgr.text import traceback_of
from tests.unit.host.test_runner import Module, ask, soon, until


class TextlessError(Exception):
    """Its own code fails when it is asked for its text."""

    def __str__(self):
        raise ValueError("no text")


class TextlessExit(SystemExit):
    """As the first one, and it would end the process."""

    def __str__(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [TextlessError, TextlessExit])
@pytest.mark.parametrize("where", ["constructor", "serve"])
async def test_an_exception_that_cannot_be_shown_is_one_of_the_module(host, kind, where):
    """It fails as any other: what the module raises never reaches the host's own tasks."""

    class Failing(Module):
        def __init__(self):
            super().__init__()
            if where == "constructor":
                raise kind

        def serve(self):
            raise kind

        def shutdown(self):
            raise kind

    crashes = []
    runner = host.run(Failing)
    runner._on_crash = crashes.append
    await until(runner, Phase.FAILED)
    await runner.stop(limit_s=5)

    assert kind.__name__ in runner.error
    assert crashes[0].kind == kind.__name__
    assert runner.phase is Phase.STOPPED


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), KeyError(1), TextlessExit()])
async def test_a_notification_that_exits_or_raises_ends_nothing(host, error):
    """Also where the module has no logger, since its constructor did not call Ceph's."""

    class Exiting(Module):
        def notify(self, kind, _notify_id):
            super().notify(kind, "")
            raise error

        def _config_notify(self):
            super()._config_notify()
            raise error

    module = Exiting()
    runner = host.run(lambda: module)
    await runner.ready(until_s=soon())
    for call in (
        runner.notify_config,
        lambda: runner.notify("clog"),
        lambda: runner.notify("clog"),
    ):
        module.notification_event.clear()
        call()
        await asyncio.to_thread(module.notification_event.wait, 5)

    assert await ask(runner) == (0, "hello", "")
    assert runner.phase is Phase.RUNNING
    assert [kind for kind, *_ in module.notifications if kind == "clog"] == ["clog", "clog"]


async def test_a_class_that_makes_no_instance_is_reported(host):
    """As is one whose attributes cannot be read: both are found on the module's own thread."""

    class Closed:
        def __getattribute__(self, name):
            raise RuntimeError(f"no {name}")

    for made in (None, Closed()):
        runner = host.run(lambda made=made: made)
        await until(runner, Phase.FAILED)
        assert "serve" in runner.error


async def test_the_text_of_an_exception_is_made_on_the_modules_thread(host):
    """Its own code makes it, and may take long: the loop does not wait for that."""
    called = []

    class OwnTextError(Exception):
        def __str__(self):
            called.append(threading.current_thread().name)
            return "own text"

    class Failing(Module):
        def _handle_command(self, *_):
            raise OwnTextError

    runner = host.run(Failing)
    await runner.ready(until_s=soon())
    with pytest.raises(OwnTextError) as caught:
        await ask(runner)

    assert called
    assert traceback_of(caught.value).endswith("OwnTextError: own text\n")
    assert set(called) == {"hello-commands"}


async def test_a_huge_text_of_an_exception_is_cut(host):
    """It is shown in health and kept in etcd."""

    def fail():
        raise ValueError("x" * 10**5)

    runner = host.run(fail)
    await until(runner, Phase.FAILED)

    assert len(runner.error) < 3000
