"""Measures what the services of the host cost a module, in the process of the module."""

import json
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from mgr.store.etcd3_stubs import method
from mgr_module import CLIReadCommand, CLIWriteCommand, HandleCommandResult, MgrModule, Option

BATCH = 200
LOOK_EVERY_S = 0.005
NOTIFIED_WITHIN_S = 5.0


class Module(MgrModule):
    """``probe`` commands; see the benchmarks that ask for them."""

    MODULE_OPTIONS = (Option("place", default="World", runtime=True), Option("number", type="int"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._notified: list[tuple[str, float]] = []

    def config_notify(self) -> None:
        place = str(self.get_module_option("place"))
        self._notified.append((place, time.clock_gettime(time.CLOCK_BOOTTIME)))
        del self._notified[:-100]

    @CLIReadCommand("probe nop")
    def nop(self) -> HandleCommandResult:
        """Answer at once."""
        return HandleCommandResult()

    @CLIWriteCommand("probe touch")
    def touch(self) -> HandleCommandResult:
        """Answer at once, as a command that may change something."""
        return HandleCommandResult()

    @CLIWriteCommand("probe apply")
    def apply(self, token: str) -> HandleCommandResult:
        """Count, under ``token``, how often this was run. Deliberately not idempotent."""
        count = int(self.get_store(f"token/{token}") or 0) + 1
        self.set_store(f"token/{token}", str(count))
        return HandleCommandResult(stdout=str(count))

    @CLIReadCommand("probe counts")
    def counts(self) -> HandleCommandResult:
        """How often each token was applied."""
        found = self.get_store_prefix("token/")
        return HandleCommandResult(
            stdout=json.dumps({key.removeprefix("token/"): int(n) for key, n in found.items()})
        )

    @CLIReadCommand("probe notified")
    def notified(self) -> HandleCommandResult:
        """The values of ``place`` this module was told of, and when (CLOCK_BOOTTIME)."""
        return HandleCommandResult(stdout=json.dumps(self._notified))

    @CLIReadCommand("probe reads")
    def reads(self, batches: int = 50) -> HandleCommandResult:
        """Microseconds per call of the reads, each the mean of a batch."""
        plain, document = {"place": "Rome"}, dict(self.get("mgr_map"))
        self.set_store("read", "x" * 100)
        self.set_map("probe", {"racks": [{"hosts": ["h"] * 40}] * 100})
        calls: dict[str, Callable[[], Any]] = {
            "reference: plain dict.get in a function": lambda: plain.get("place"),
            "get_module_option": lambda: self.get_module_option("place"),
            "get_store": lambda: self.get_store("read"),
            "reference: a copy of mgr_map's top dictionary": lambda: dict(document),
            "get('mgr_map')": lambda: self.get("mgr_map"),
            "get('config')": lambda: self.get("config"),
            "get('service_map')": lambda: self.get("service_map"),
            "get() of a published map": lambda: self.get("probe"),
        }
        return HandleCommandResult(
            stdout=json.dumps({what: _batches(call, batches) for what, call in calls.items()})
        )

    @CLIReadCommand("probe remotes")
    def remotes(self, module: str, batches: int = 50) -> HandleCommandResult:
        """Microseconds per call of another module, each the mean of a batch."""
        value = {"name": "osd.1", "state": ["up", "in"], "weight": 1.0}
        calls: dict[str, Callable[[], Any]] = {
            "reference: pickling argument and result": lambda: _twice_copied(value),
            "remote()": lambda: self.remote(module, "echo", value),
        }
        return HandleCommandResult(
            stdout=json.dumps({what: _batches(call, batches) for what, call in calls.items()})
        )

    @CLIReadCommand("probe fanout")
    def fanout(self, listeners: str, rounds: int = 200) -> HandleCommandResult:
        """Milliseconds until the first and the last of ``listeners`` knows of a line of the log."""
        names = listeners.split(",")
        series: dict[str, list[float]] = {}
        for number in range(rounds):
            line = f"heard by all, {number}"
            begun = time.perf_counter()
            self.cluster_log("cluster", self.ClusterLogPrio.DEBUG, line)
            received = sorted(self._received(name, line) - begun for name in names)
            woken = _woken(len(names))
            for what, at_s in (("reference: threads woken", woken), ("notify", received)):
                for part, value_s in (
                    ("first", at_s[0]),
                    ("last", at_s[-1]),
                    ("first to last", at_s[-1] - at_s[0]),
                ):
                    series.setdefault(f"{what}, {part}", []).append(value_s * 1e3)
        return HandleCommandResult(stdout=json.dumps(series))

    def _received(self, listener: str, line: str) -> float:
        pause, give_up = threading.Event(), time.perf_counter() + NOTIFIED_WITHIN_S
        while (at := self.remote(listener, "notified_at", line)) is None:
            if time.perf_counter() > give_up:
                raise TimeoutError(f"{listener} was not told of {line!r}")
            pause.wait(LOOK_EVERY_S)
        return float(at)

    @CLIWriteCommand("probe writes")
    def writes(self, endpoint: str, rounds: int = 200) -> HandleCommandResult:
        """Milliseconds per write, alternating with a plain put to the same etcd."""
        calls: dict[str, Callable[[str], Any]] = {
            "reference: plain etcd put, same process": _plain_put(endpoint),
            "set_store": lambda value: self.set_store("written", value),
            "set_module_option": lambda value: self.set_module_option("number", int(value)),
        }
        series: dict[str, list[float]] = {what: [] for what in calls}
        for number in range(rounds):
            for what, call in calls.items():
                begun = time.perf_counter()
                call(f"{number:0100d}")
                series[what].append((time.perf_counter() - begun) * 1e3)
        return HandleCommandResult(stdout=json.dumps(series))


def _batches(call: Callable[[], Any], batches: int) -> list[float]:
    found = []
    for _ in range(batches):
        begun = time.perf_counter()
        for _ in range(BATCH):
            call()
        found.append((time.perf_counter() - begun) / BATCH * 1e6)
    return found


def _twice_copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(value))))


def _woken(count: int) -> list[float]:
    """Seconds until each of ``count`` waiting threads runs, once each was told to; ascending."""
    calls, at = [threading.Event() for _ in range(count)], []

    def wait(call: threading.Event) -> None:
        call.wait()
        at.append(time.perf_counter())

    threads = [threading.Thread(target=wait, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    begun = time.perf_counter()
    for call in calls:
        call.set()
    for thread in threads:
        thread.join()
    return sorted(each - begun for each in at)


def _plain_put(endpoint: str) -> Callable[[str], Any]:
    """A put over a synchronous channel and nothing of ours: the cheapest there is."""
    put = method("KV", "Put")
    call = grpc.insecure_channel(endpoint).unary_unary(
        put.path,
        request_serializer=put.request.SerializeToString,
        response_deserializer=put.response.FromString,
    )
    return lambda value: call(put.request(key=b"/bench/plain", value=value.encode()), timeout=5)
