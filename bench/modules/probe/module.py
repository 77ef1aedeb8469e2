"""Measures what a module pays for the host's services, in the very process that pays it."""

import json
import time
from collections.abc import Callable
from typing import Any

import grpc

from mgr.store.etcd3_stubs import method
from mgr_module import CLIReadCommand, CLIWriteCommand, HandleCommandResult, MgrModule, Option

BATCH = 200


class Module(MgrModule):
    """``probe`` commands; see bench/options_and_store.py and bench/failover.py."""

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
        plain = {"place": "Rome"}
        self.set_store("read", "x" * 100)
        calls: dict[str, Callable[[], Any]] = {
            "reference: plain dict.get in a function": lambda: plain.get("place"),
            "get_module_option": lambda: self.get_module_option("place"),
            "get_store": lambda: self.get_store("read"),
            "get('mgr_map')": lambda: self.get("mgr_map"),
            "get('config')": lambda: self.get("config"),
        }
        return HandleCommandResult(
            stdout=json.dumps({what: _batches(call, batches) for what, call in calls.items()})
        )

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


def _plain_put(endpoint: str) -> Callable[[str], Any]:
    """A put over a synchronous channel and nothing of ours: the cheapest there is."""
    put = method("KV", "Put")
    call = grpc.insecure_channel(endpoint).unary_unary(
        put.path,
        request_serializer=put.request.SerializeToString,
        response_deserializer=put.response.FromString,
    )
    return lambda value: call(put.request(key=b"/bench/plain", value=value.encode()), timeout=5)
