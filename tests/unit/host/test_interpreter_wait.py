"""How long threads wait for the interpreter."""

import ctypes
import threading

from mgr.host.interpreter_wait import interpreter_wait_ms


def test_a_call_into_c_that_keeps_the_interpreter_is_seen():
    """Another thread of the process waits for it each time."""
    ended = threading.Event()
    keep = ctypes.PyDLL(None).usleep

    def work():
        while not ended.is_set():
            keep(30_000)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        waited_ms = interpreter_wait_ms()
    finally:
        ended.set()
        thread.join()

    assert waited_ms > 5
