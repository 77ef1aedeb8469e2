"""Something outside etcd that modules act on: it compares terms, or takes whatever comes."""

from __future__ import annotations

import math
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from mgr.clock import CLOCK

LOOK_S: Final = 0.1
RESUMED_S: Final = 0.5
"""So long after its host went on may a helper act: until the reaper or the guard has run, which
the page on failover assumes to take longer on a busy host."""
DATAGRAM_BYTES_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect that arrived; ``accepted`` unless a newer term had acted before."""

    at_s: float
    term: int
    token: str
    accepted: bool


@dataclass(slots=True)
class Actor:
    """Who acts without asking: one thread of one module, or one process that it started.

    Attributes:
        who: ``serve/<instance>`` or ``helper/<how>/<pid>``.
        late: How often it acted after a later term had.
        resumed_s: When its host had gone on after a pause, if it is a helper of one.
        after: The newest term that had acted before its first late effect.

    """

    term: int
    who: str
    first_s: float
    last_s: float = 0.0
    count: int = 0
    late: int = 0
    after: int = 0
    late_first_s: float = 0.0
    late_last_s: float = 0.0
    resumed_s: float = math.inf


@dataclass
class Ticks:
    """Effects of whoever asks nobody, in the order of their arrival.

    Attributes:
        newest: The highest term that has acted so far.
        begun_s: When each term first acted.
        resumed_s: When the processes of a host that had stood still went on, by their ids.

    """

    actors: dict[tuple[int, str], Actor] = field(default_factory=dict)
    newest: int = 0
    begun_s: dict[int, float] = field(default_factory=dict)
    resumed_s: dict[int, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(each.count for each in list(self.actors.values()))

    def take(self, now_s: float, term: int, who: str) -> None:
        """One more arrived."""
        actor = self.actors.setdefault((term, who), Actor(term, who, now_s))
        actor.count += 1
        actor.last_s = now_s
        self.begun_s.setdefault(term, now_s)
        if term < self.newest:
            if not actor.late:
                actor.after, actor.late_first_s = self.newest, now_s
                # Now: later another process may have its id.
                if who.startswith("helper/"):
                    pid = int(who.rpartition("/")[2])
                    actor.resumed_s = self.resumed_s.get(pid, math.inf)
            actor.late += 1
            actor.late_last_s = now_s
        self.newest = max(self.newest, term)

    def late(self) -> dict[tuple[int, str], Actor]:
        """Everybody who went on after a later term had begun to act, by term and name.

        But for those of ``after_a_pause``.
        """
        return {
            key: actor
            for key, actor in list(self.actors.items())
            if actor.late and not self._after_a_pause(actor)
        }

    def after_a_pause(self) -> list[Actor]:
        """Late helpers of a host that had stood still: its reaper and its guard had, too."""
        return [
            actor
            for actor in list(self.actors.values())
            if actor.late and self._after_a_pause(actor)
        ]

    @staticmethod
    def _after_a_pause(actor: Actor) -> bool:
        return (
            actor.resumed_s <= actor.late_first_s
            and actor.late_last_s <= actor.resumed_s + RESUMED_S
        )

    def describe(self, actor: Actor) -> str:
        """What a late actor did, in words."""
        begun_s = self.begun_s[actor.after]
        return (
            f"{actor.who} of term {actor.term} acted {actor.late} times after term "
            f"{actor.after} had: {actor.late_first_s - begun_s:.3f} s to "
            f"{actor.late_last_s - begun_s:.3f} s after its first effect"
        )

    def violations(self) -> list[str]:
        """All of it in words; none is the only good answer."""
        return [self.describe(actor) for actor in self.late().values()]


class Sink:
    """Listens on two sockets in a directory. Use as a context manager.

    Attributes:
        path: A stream; one line, the term and a token, is answered by ``done`` or ``stale``.
        ticks_path: Datagrams of a term and an actor. Nothing is compared and nobody is answered.

    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sink"
        self.ticks_path = directory / "ticks"
        self.effects: list[Effect] = []
        self.ticks = Ticks()
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                term, token = self.rfile.readline().decode().split()
                self.wfile.write(b"done\n" if sink._take(int(term), token) else b"stale\n")

        self._server = socketserver.UnixStreamServer(str(self.path), Handler)
        self._datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._datagrams.bind(str(self.ticks_path))
        self._datagrams.settimeout(LOOK_S)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(LOOK_S,), name="sink"),
            threading.Thread(target=self._listen, name="ticks"),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()
        self._datagrams.close()

    def _take(self, term: int, token: str) -> bool:
        # One request at a time: the server has one thread.
        accepted = not self.effects or term >= max(each.term for each in self.effects[-100:])
        self.effects.append(Effect(CLOCK.now(), term, token, accepted))
        return accepted

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                term, who = self._datagrams.recv(DATAGRAM_BYTES_MAX).decode().split()
            except TimeoutError:
                continue
            self.ticks.take(CLOCK.now(), int(term), who)
