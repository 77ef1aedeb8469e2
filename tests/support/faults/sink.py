"""Something outside etcd that a module acts on, and that compares tokens: terms."""

from __future__ import annotations

import socketserver
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mgr.clock import CLOCK


@dataclass(frozen=True, slots=True)
class Effect:
    """One deed that arrived; ``accepted`` unless a newer term had acted before."""

    at_s: float
    term: int
    token: str
    accepted: bool


class Sink:
    """Listens on a socket in a directory. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sink"
        self.effects: list[Effect] = []
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                term, token = self.rfile.readline().decode().split()
                self.wfile.write(b"done\n" if sink._take(int(term), token) else b"stale\n")

        self._server = socketserver.UnixStreamServer(str(self.path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, term: int, token: str) -> bool:
        # One request at a time: the server has one thread.
        accepted = not self.effects or term >= max(each.term for each in self.effects[-100:])
        self.effects.append(Effect(CLOCK.now(), term, token, accepted))
        return accepted
