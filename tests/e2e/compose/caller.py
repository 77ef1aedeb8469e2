"""A client outside that counts without pause, and knows afterwards what must be true."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import httpx

from mgr.client.blocking import Client
from mgr.clock import CLOCK
from mgr.errors import MayHaveRunError, MgrError, OutcomeUnknownError, StoreUnavailableError
from mgr.tls import Tls

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Call:
    """One answered command: what it counted to, and in which term."""

    count: int
    term: int
    unclear: int
    """Calls just before it of which nobody knows whether they were applied."""


@dataclass
class Caller:
    """Calls ``hello count`` one after the other on a thread of its own while the block runs.

    Each call goes on through failovers for up to ``PATIENCE_S``.
    """

    hosts: tuple[str, ...]
    tls: Tls
    pause_s: float = 0.005
    calls: list[Call] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Answers that etcd is silent: nothing was applied."""
    longest_s: float = 0.0
    """Of all calls, whatever became of them."""
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S + 5)
        assert not self._thread.is_alive(), "the caller waits for ever"

    def _run(self) -> None:
        with Client(self.hosts, timeout_s=PATIENCE_S, reach_s=PATIENCE_S, tls=self.tls) as client:
            while not self._stop.wait(self.pause_s):
                self._call(client)

    def _call(self, client: Client) -> None:
        known = len(self.unclear)
        begun = CLOCK.now()
        try:
            answer = client.execute(["hello", "count"])
        except (MayHaveRunError, OutcomeUnknownError) as error:
            self.unclear.append(str(error))
        except StoreUnavailableError as error:
            self.refused.append(str(error))
        except MgrError as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        else:
            if answer.retval != 0:
                self.failures.append(answer.stderr)
                return
            earlier = sum(call.unclear for call in self.calls)
            self.calls.append(Call(int(answer.text), answer.term, known - earlier))
        finally:
            self.longest_s = max(self.longest_s, CLOCK.now() - begun)

    def check(self, *, unclear_max: int = 0, refused_max: int = 0) -> None:
        """Nothing failed, each command was applied exactly once, terms only grew.

        A command that was running when the active was lost may be ``unclear``: its client is
        told that it may have run, and it has, once, or has not. One that reached an active
        whose etcd had just gone may be refused; it was not applied.
        """
        assert not self.failures, self.failures[:3]
        assert len(self.unclear) <= unclear_max, self.unclear
        assert len(self.refused) <= refused_max, self.refused
        assert len(self.calls) > 1, "no calls were made"
        for before, after in pairwise(self.calls):
            applied = after.count - before.count
            assert 1 <= applied <= 1 + after.unclear, (before, after)
            assert after.term >= before.term, (before, after)

    def received(self) -> str:
        """The figures, for the record."""
        unclear = (
            f" {len(self.unclear)} was running when the active was lost, and its client was told"
            " that it may have run."
            if self.unclear
            else ""
        )
        sent = len(self.calls) + len(self.unclear) + len(self.refused)
        return (
            f"Meanwhile a client outside sent {sent} commands: "
            f"{len(self.refused)} failed, none was applied twice, none that was answered was "
            f"lost.{unclear} The longest took {self.longest_s * 1000:.0f} ms."
        )


@dataclass
class Asking:
    """GETs one address without pause while the block runs; knows for how long it was refused."""

    url: str
    trust: ssl.SSLContext
    last: str = ""
    refused_s: float = 0.0
    """The longest time without an answer that was a yes."""
    asked: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asking", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        yes_at = CLOCK.now()
        with httpx.Client(timeout=2, verify=self.trust) as client:
            while not self._stop.wait(0.01):
                self.asked += 1
                try:
                    answer = client.get(self.url)
                except httpx.TransportError:
                    continue
                if answer.status_code == 200:
                    now = CLOCK.now()
                    self.refused_s = max(self.refused_s, now - yes_at)
                    self.last, yes_at = answer.json()["active"], now

    def received(self) -> str:
        """The figures, for the record."""
        return (
            f"Of {self.asked} requests to the load balancer the longest time without a yes was "
            f"{self.refused_s * 1000:.0f} ms."
        )
