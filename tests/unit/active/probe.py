"""Two modules: one that runs what a test hands it, and one that it calls."""

import threading

from mgr.module_api.module import MgrModule


def table(*prefixes):
    """A ``COMMANDS`` table."""
    return [{"cmd": prefix, "desc": "Say", "perm": "r"} for prefix in prefixes]


class Probe(MgrModule):
    """Runs what a test hands it, on its command thread."""

    COMMANDS = table("probe run")
    MODULE_OPTIONS = [  # noqa: RUF012 - the host appends to it
        {"name": "place", "type": "str", "default": "World"},
        {"name": "size", "type": "size", "default": 1, "min": 1, "max": 10_000},
    ]
    NOTIFY_TYPES = ("command",)
    work = None

    def __init__(self, *args):
        super().__init__(*args)
        Probe.received, Probe.threads = [], []

    def handle_command(self, _inbuf, _cmd):
        Probe.result = Probe.work(self)
        return 0, "", ""

    def notify(self, notify_type, notify_id):
        Probe.received.append((notify_type, notify_id))
        Probe.threads.append(threading.current_thread().name)


class Peer(MgrModule):
    """Another module, to be called."""

    COMMANDS = table("peer say", "peer wait")
    waits, goes_on = threading.Event(), threading.Event()

    def handle_command(self, _inbuf, cmd):
        if cmd["prefix"] == "peer wait":
            Peer.waits.set()
            Peer.goes_on.wait(5)
        return 0, "said", ""

    def add(self, left, right=0):
        return left + right

    def grow(self, things):
        things.append(1)
        return things

    def fail(self):
        raise KeyError("inside")

    def unpicklable(self):
        return lambda: None
