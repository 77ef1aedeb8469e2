"""The commands of bench/modules/probe that both managers are compared by, for ceph-mgr 16.2."""

import json
import time

from mgr_module import CLIReadCommand, CLIWriteCommand, HandleCommandResult, MgrModule, Option

BATCH = 200


class Module(MgrModule):
    """``probe`` commands."""

    MODULE_OPTIONS = [  # noqa: RUF012 - as ceph-mgr 16.2 wants it
        Option("place", default="World", runtime=True),
        Option("number", type="int", default=0),
    ]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._notified = []

    def config_notify(self):
        place = str(self.get_module_option("place"))
        self._notified.append((place, time.clock_gettime(time.CLOCK_BOOTTIME)))
        del self._notified[:-100]

    @CLIReadCommand("probe nop")
    def nop(self):
        """Answer at once."""
        return HandleCommandResult()

    @CLIReadCommand("probe notified")
    def notified(self):
        """The values of ``place`` this module was told of, and when (CLOCK_BOOTTIME)."""
        return HandleCommandResult(stdout=json.dumps(self._notified))

    @CLIReadCommand("probe reads")
    def reads(self, batches: int = 50):
        """Microseconds per call of the reads, each the mean of a batch."""
        self.set_store("read", "x" * 100)
        calls = {
            "get_module_option": lambda: self.get_module_option("place"),
            "get_store": lambda: self.get_store("read"),
            "get('mgr_map')": lambda: self.get("mgr_map"),
            "get('config')": lambda: self.get("config"),
        }
        found = {what: _batches(call, batches) for what, call in calls.items()}
        return HandleCommandResult(stdout=json.dumps(found))

    @CLIWriteCommand("probe writes")
    def writes(self, rounds: int = 100):
        """Milliseconds per write."""
        calls = {
            "set_store": lambda value: self.set_store("written", value),
            "set_module_option": lambda value: self.set_module_option("number", int(value)),
        }
        series = {what: [] for what in calls}
        for number in range(rounds):
            for what, call in calls.items():
                begun = time.perf_counter()
                call(f"{number:0100d}")
                series[what].append((time.perf_counter() - begun) * 1e3)
        return HandleCommandResult(stdout=json.dumps(series))


def _batches(call, batches):
    found = []
    for _ in range(batches):
        begun = time.perf_counter()
        for _ in range(BATCH):
            call()
        found.append((time.perf_counter() - begun) / BATCH * 1e6)
    return found
