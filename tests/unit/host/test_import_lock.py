"""A finder that imports while another thread does."""

import subprocess
import sys
from textwrap import dedent

import pytest

SLOW = """
import _frozen_importlib, __main__, threading
__main__.begun.set()
while not set(_frozen_importlib._blocking_on) - {threading.get_ident()}:
    pass  # until the other thread waits for the end of this import
import other
"""
PROGRAM = """
    import importlib, os, sys, threading
    from mgr.host.import_lock import search_without_import_lock

    begun = threading.Event()

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "distutils":
                importlib.import_module("slow")

    sys.meta_path.insert(0, Finder())
    for _ in range(CALLS):
        search_without_import_lock()

    def start(name):
        thread = threading.Thread(target=importlib.import_module, args=(name,), daemon=True)
        thread.start()
        return thread

    threads = [start("slow")]
    begun.wait(10)
    threads.append(start("distutils"))
    for each in threads:
        each.join(LIMIT_S)
    sys.meta_path[0].find_spec("pip")  # as others than the import system call it
    print(sorted({"distutils", "other"} & set(sys.modules)), flush=True)
    os._exit(0)
"""


@pytest.fixture
def imported(tmp_path):
    """Have two threads import, in a Python of their own; what they imported."""
    for name, text in (("slow", SLOW), ("other", ""), ("distutils", "")):
        (tmp_path / f"{name}.py").write_text(text)

    def run(*, calls, limit_s):
        program = dedent(PROGRAM).replace("CALLS", str(calls)).replace("LIMIT_S", str(limit_s))
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return ended.stdout.strip()

    return run


@pytest.mark.parametrize("calls", [1, 2])
def test_a_finder_that_imports_does_not_stop_all_imports(imported, calls):
    """As setuptools' does while another thread imports setuptools."""
    assert imported(calls=calls, limit_s=20) == "['distutils', 'other']"


def test_python_itself_still_stops_them(imported):
    """Once it does not, there is no need for this."""
    assert imported(calls=0, limit_s=1) == "[]"
