"""Runs beside bench/ceph.py with Ceph's ``rados``: one request a line, one answer a line."""

import json
import sys
import threading
import time

import rados


def main():
    """Answer until standard input ends."""
    cluster = rados.Rados(conffile="", rados_id="admin")
    cluster.connect(timeout=30)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"found": METHODS[request.pop("what")](cluster, **request)}
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    cluster.shutdown()


def monitor(cluster, command):
    """Run a command of the monitor."""
    retval, out, text = cluster.mon_command(json.dumps(command), b"")
    if retval:
        raise RuntimeError(f"{command}: {retval} {text}")
    return json.loads(out) if out.strip() else None


def manager(cluster, prefix, **arguments):
    """Run a command of the active manager; its output."""
    retval, out, text = _run(cluster, prefix, **arguments)
    if retval:
        raise RuntimeError(f"{prefix}: {retval} {text}")
    return json.loads(out) if out.strip() else None


def in_turn(cluster, messages, clients):
    """Milliseconds of each of so many no-op commands; of several clients at once."""
    found = []

    def run():
        for number in range(messages + 50):
            begun = time.perf_counter()
            retval, _, text = _run(cluster, "probe nop")
            if retval:
                raise RuntimeError(text)
            if number >= 50:
                found.append((time.perf_counter() - begun) * 1e3)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"ms": found, "s": time.perf_counter() - begun}


def answered(cluster, within_s):
    """Repeat the no-op command until it is answered; when that was, on the boot clock."""
    end, pause = _now() + within_s, threading.Event()
    while _now() < end:
        retval, _, _ = _run(cluster, "probe nop", timeout_s=1)
        if retval == 0:
            return _now()
        pause.wait(0.01)
    raise TimeoutError(f"no answer within {within_s} s")


def _now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _run(cluster, prefix, timeout_s=0, **arguments):
    command = {"prefix": prefix, "target": ["mon-mgr", ""], **arguments}
    return cluster.mgr_command(json.dumps(command), b"", timeout=timeout_s)


METHODS = {
    "monitor": monitor,
    "manager": manager,
    "in_turn": in_turn,
    "answered": answered,
}

if __name__ == "__main__":
    main()
