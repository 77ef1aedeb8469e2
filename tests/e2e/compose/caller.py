"""A client outside that counts without pause, and knows afterwards what must be true."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Self

from mgr.client import Client
from mgr.clock import CLOCK
from mgr.errors import MgrError

PATIENCE_S = 30.0


@dataclass
class Caller:
    """Calls ``hello count`` one after the other on a thread of its own while the block runs.

    Each call goes on through failovers for up to ``PATIENCE_S``.
    """

    hosts: tuple[str, ...]
    pause_s: float = 0.005
    counts: list[int] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    spans_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call, name="caller", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S + 5)
        assert not self._thread.is_alive(), "the caller waits for ever"

    def _call(self) -> None:
        with Client(self.hosts, timeout_s=PATIENCE_S, reach_s=PATIENCE_S) as client:
            while not self._stop.wait(self.pause_s):
                begun = CLOCK.now()
                try:
                    answer = client.execute(["hello", "count"])
                except MgrError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    continue
                self.spans_s.append(CLOCK.now() - begun)
                self.terms.append(answer.term)
                if answer.retval == 0:
                    self.counts.append(int(answer.text))
                else:
                    self.failures.append(answer.stderr)

    def check(self) -> None:
        """Every call was answered, applied exactly once, and by ever later terms."""
        assert not self.failures, self.failures[:3]
        assert self.counts, "no call was made"
        first = self.counts[0]
        assert self.counts == list(range(first, first + len(self.counts)))
        assert self.terms == sorted(self.terms)

    def told(self) -> str:
        """The figures, for the record."""
        return (
            f"{len(self.counts)} commands from a client outside meanwhile, "
            f"{len(self.failures)} failed, each applied once; "
            f"the longest took {max(self.spans_s) * 1000:.0f} ms."
        )
