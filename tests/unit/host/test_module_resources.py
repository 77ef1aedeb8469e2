"""Processes and sockets of modules: the host knows them, and whose they are."""

import multiprocessing
import os
import signal
import socket
import subprocess

import pytest

from mgr.host.bridge import Bridge
from mgr.host.module_resources import (
    MAKE_PROCESSES,
    left_processes,
    left_sockets,
    track_module_resources,
    unaccounted_processes,
)


@pytest.fixture
def bridge_of(monkeypatch):
    """Resources are tracked, for this test."""
    for owner, name in (*MAKE_PROCESSES, (socket.socket, "listen")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    track_module_resources()
    bridges = []

    def made(module):
        bridges.append(Bridge(module, waiting_max=4))
        return bridges[-1]

    yield made
    for bridge in bridges:
        bridge.close()


def forked():
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.pause()
        os._exit(3)
    return pid


def popen():
    return subprocess.Popen(["sleep", "60"]).pid


def spawned():
    return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)


def context_process():
    process = multiprocessing.get_context("fork").Process(target=signal.pause, daemon=True)
    process.start()
    return process.pid


def end(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("start", [forked, popen, spawned, context_process])
async def test_a_process_of_a_module_is_known_until_it_ends(bridge_of, start):
    """However it is started; one that the host starts is none of a module's."""
    own = popen()
    pid = await bridge_of("forker").to_module(start)
    try:
        [shown] = left_processes()["forker"]
    finally:
        end(pid, own)

    assert shown.startswith(f"{pid} (")
    assert left_processes() == {}


async def test_a_listening_socket_of_a_module_is_known_until_it_is_closed(bridge_of):
    """By its address; one that is only connected, or the host's, is not listed."""
    own = socket.create_server(("127.0.0.1", 0))
    listening = await bridge_of("web").to_module(lambda: socket.create_server(("127.0.0.1", 0)))
    port = listening.getsockname()[1]

    with own, listening, socket.create_connection(("127.0.0.1", port)):
        assert left_sockets() == {"web": [f"127.0.0.1:{port}"]}

    assert left_sockets() == {}


def test_without_a_reaper_nothing_is_unaccounted_for():
    """The parent of this process is no reaper of ours: its children are none of our business."""
    assert unaccounted_processes() == []
