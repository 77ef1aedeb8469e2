"""Threads that modules start themselves: the host knows them, and whose they are."""

import asyncio
import threading

import pytest

from mgr.host.bridge import Bridge, module_threads, run_in_thread, track_module_threads


@pytest.fixture
def followed(monkeypatch):
    """Threads are followed, for this test; ``go`` ends those it leaves behind."""
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)
    track_module_threads()
    go = threading.Event()
    yield go
    go.set()


def begin(name, body):
    """As module code does it."""
    threading.Thread(target=body, name=name, daemon=True).start()


async def ended():
    """Wait until no thread of a module is left."""
    async with asyncio.timeout(5):
        while module_threads():  # noqa: ASYNC110 - Python does not say when a thread ends
            await asyncio.sleep(0.005)


async def test_a_thread_of_a_module_is_known_until_it_ends(followed):
    """Begun by a command, by ``serve``, and by such a thread in turn."""
    bridge = Bridge("hello", waiting_max=4)
    serving = bridge.start_serving(lambda: begin("b", followed.wait))
    await serving
    began = threading.Event()

    def nested():
        begin("c", followed.wait)
        began.set()

    await bridge.to_module(lambda: begin("a", nested))
    await asyncio.to_thread(began.wait, 5)

    assert sorted(module_threads()["hello"])[-2:] == ["b", "c"]
    followed.set()
    await ended()
    bridge.close()


async def test_threads_of_the_host_are_no_modules(followed):
    """Neither those it gives to a module, nor what it runs aside for itself."""
    bridge = Bridge("hello", waiting_max=4)
    run_in_thread("hello-stop", followed.wait, module="hello")
    run_in_thread("import-modules", lambda: begin("x", followed.wait))
    await bridge.to_module(lambda: None)

    assert module_threads() == {}
    bridge.close()
