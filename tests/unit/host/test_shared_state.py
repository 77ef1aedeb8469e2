"""What a module must not change of what all modules of a worker share."""

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from mgr.host import shared_state
from mgr.host.shared_state import changed_text, keep_shared_state, note_constructed

HARMFUL = {
    "time.monotonic": "import time; time.monotonic = lambda: 0.0",
    "socket.getaddrinfo": "import socket; socket.getaddrinfo = print",
    "socket.socket.connect": "import socket; socket.socket.connect = print",
    "threading.Thread": "import threading; threading.Thread = object",
    "threading.Thread.start": "import threading; threading.Thread.start = print",
    "builtins.open": "import builtins; builtins.open = print",
    "json.dumps": "import json; del json.dumps",
    "ssl._create_default_https_context": "import ssl; ssl._create_default_https_context = print",
    "sys.modules": "import sys; del sys.modules['json']",
    "sys.path": "import sys; sys.path.insert(0, '/nowhere')",
    "sys.meta_path": "import sys; sys.meta_path.clear()",
    "sys.setrecursionlimit": "import sys; sys.setrecursionlimit(200)",
    "sys.setswitchinterval": "import sys; sys.setswitchinterval(60)",
    "sys.stdout": "import sys; sys.stdout = None",
    "gc.disable": "import gc; gc.disable()",
    "os.chdir": "import os; os.chdir('/')",
    "os.umask": "import os; os.umask(0o055)",
    "resource.setrlimit": (
        "import resource as r; n = r.RLIMIT_NOFILE; r.setrlimit(n, (50, r.getrlimit(n)[1]))"
    ),
    "signal.setitimer": "import signal; signal.alarm(60)",
    "socket.setdefaulttimeout": "import socket; socket.setdefaulttimeout(1)",
    "threading.settrace": "import threading; threading.settrace(print)",
    "warnings.filters": "import warnings; warnings.simplefilter('error')",
}
HARMLESS = {
    "more in sys.path": "import sys; sys.path.append('/nowhere')",
    "a deeper recursion": "import sys; sys.setrecursionlimit(5000)",
    "a variable": "import os; os.environ['MGR_TEST'] = '1'",
    "an attribute": "import socket; socket.mine = print",
    "fewer warnings": "import warnings; warnings.simplefilter('ignore')",
    "captured warnings": "import logging; logging.captureWarnings(True)",
    "a finder": "import sys; sys.meta_path.append(object())",
    "an exit as cephadm has it": "import os; os._exit = print",
    "a hook": "import sys, threading; sys.excepthook = threading.excepthook = print",
    "another library": "import http.client, xml.dom.minidom, asyncio.queues",
}
PROGRAM = """
import http.client, json, sys
from mgr.host.shared_state import SharedState
state, write = SharedState(), sys.stdout.write
exec(sys.argv[1])
write(f"{state.changes()} {state.restore()} {state.changes()}")
"""


def seen(code):
    """What is found in a process of its own that executes ``code``: before, undone, after."""
    command = [sys.executable, "-P", "-c", PROGRAM, code]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


@pytest.mark.parametrize("name", HARMFUL)
def test_what_breaks_other_modules_is_found_and_undone(name):
    """By the name of what was changed."""
    assert seen(HARMFUL[name]) == f"{(name,)} {(name,)} ()"


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_adds_something_is_left_alone(name):
    """Libraries do it all the time."""
    assert seen(HARMLESS[name]) == "() () ()"


async def test_the_worker_undoes_what_a_module_changes_later(monkeypatch, caplog):
    """In its constructor, ``serve`` or a command; the log names those constructed just before."""
    monkeypatch.setattr(shared_state, "CHECK_EVERY_S", 0.01)
    before = socket.getaddrinfo
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(keep_shared_state())
        await asyncio.sleep(0)
        try:
            note_constructed("second")
            note_constructed("first")
            socket.getaddrinfo = print
            socket.setdefaulttimeout(1)
            while socket.getaddrinfo is print:  # noqa: ASYNC110 - the module tells nobody
                await asyncio.sleep(0.01)
            assert socket.getdefaulttimeout() is None
        finally:
            socket.getaddrinfo = before
            socket.setdefaulttimeout(None)
            keeping.cancel()

    (record,) = (each for each in caplog.records if each.name == shared_state.__name__)
    assert record.module_name == "first, second"
    assert record.getMessage() == "undone: a module changed what all modules share"
    assert record.changed == "socket.getaddrinfo, socket.setdefaulttimeout"


def test_many_names_are_cut():
    """A module that patches everything has one line all the same."""
    assert changed_text(tuple("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"


def test_modules_are_imported_one_after_the_other():
    """Also from threads of their own; one that does not return keeps the others for a while."""
    at_once, most, ended = [], [], threading.Event()

    def importing():
        with shared_state.one_import(5.0):
            at_once.append(1)
            most.append(len(at_once))
            ended.wait(0.01)
            at_once.pop()

    threads = [threading.Thread(target=importing) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert most == [1] * 5


def test_an_import_that_does_not_return_is_not_waited_for_without_a_limit():
    """The next one begins beside it."""
    with shared_state.one_import(5.0), shared_state.one_import(0.01):
        pass
    with shared_state.one_import(5.0):
        assert shared_state._importing.locked()
    assert not shared_state._importing.locked()
