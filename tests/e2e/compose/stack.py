"""The compose files of deploy/, up; driven as a user drives them, and asked from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from mgr.client import Client
from mgr.clock import CLOCK
from mgr.errors import MgrError
from tests.e2e.compose.engine import Engine
from tests.e2e.compose.transcript import Transcript
from tests.support.cluster import wait_for
from tests.support.tree import ROOT

COMPOSE: Final = "docker compose -f deploy/compose.yaml"
CHAOS: Final = f"{COMPOSE} -f deploy/compose.chaos.yaml"

GRPC: Final = {f"mgr{n}": f"127.0.0.1:741{n}" for n in (1, 2, 3)}
HTTP: Final = {f"mgr{n}": f"http://127.0.0.1:743{n}" for n in (1, 2, 3)}
PAGES: Final = {f"mgr{n}": f"http://127.0.0.1:744{n}/" for n in (1, 2, 3)}
BALANCED_GRPC: Final = "127.0.0.1:7400"
BALANCED_HTTP: Final = "http://127.0.0.1:7480"


@dataclass(frozen=True)
class Seen:
    """What a manager's /active says to somebody outside: whether it leads, who does."""

    leads: bool
    active: str | None
    term: int


class Stack:
    """One run of the files, under a project name of its own."""

    def __init__(self, engine: Engine, settings: dict[str, str]) -> None:
        """Use ``engine``; ``settings`` are images that differ from the files' defaults."""
        self.engine = engine
        self.project = f"mgr-test-{os.getpid()}"
        self.transcript = Transcript(self.project)
        # The files' own image names stay the user's: a test must not replace what they run.
        self.environment = {
            **engine.environment,
            **settings,
            "COMPOSE_PROJECT_NAME": self.project,
            "MGR_IMAGE": "mgr-test",
            "CHAOS_IMAGE": "mgr-test-chaos",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self.network = f"{self.project}_cluster"

    def typed(self, line: str, *, limit_s: float = 60, check: bool = True) -> str:
        """Run a line of shell in the root of the checkout, as a user types it.

        Raises:
            AssertionError: It failed; says what it printed.

        """
        begun = CLOCK.now()
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
        self.transcript.typed(line.replace(self.project, "mgr"), done.stdout, CLOCK.now() - begun)
        assert not check or done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    def compose(self, words: str, *, limit_s: float = 60) -> str:
        """Run ``docker compose -f deploy/compose.yaml WORDS``."""
        return self.typed(f"{COMPOSE} {words}", limit_s=limit_s)

    def container(self, service: str) -> str:
        """The name that docker has for a service's container."""
        return f"{self.project}-{service}-1"

    def mgrctl(self, words: str, *, through: str = "mgr1") -> str:
        """Run mgrctl in a manager's container."""
        return self.compose(f"exec {through} mgrctl {words}").strip()

    def client(self, *hosts: str) -> Client:
        """A client outside the network, which knows ``hosts`` or else every manager; close it."""
        return Client(hosts or tuple(GRPC.values()))

    def execute(self, *words: str, **arguments: Any) -> Any:
        """Run one command from outside; its answer."""
        with self.client() as client:
            return client.execute(list(words), arguments)

    def seen(self, manager: str) -> Seen | None:
        """What a manager answers on its published port; None: nothing."""
        try:
            answer = httpx.get(f"{HTTP[manager]}/active", timeout=1)
        except httpx.TransportError:
            return None
        known = answer.json()
        return Seen(answer.status_code == 200, known["active"], known["term"])

    def leading(self) -> list[str]:
        """Every manager that says from outside that it leads."""
        return [name for name in HTTP if (seen := self.seen(name)) and seen.leads]

    def active(self, *, other_than: str = "", timeout_s: float = 30) -> str:
        """Wait until one manager leads and answers a command; its name."""

        def look() -> str | None:
            leading = self.leading()
            if len(leading) != 1 or leading == [other_than]:
                return None
            try:
                return leading[0] if self.execute("mgr", "stat").retval == 0 else None
            except MgrError:
                return None

        return wait_for(look, f"an active manager other than {other_than!r}", timeout_s)

    def settled(self, timeout_s: float = 60) -> str:
        """Wait until one manager leads and two are warm standbys; the name of the active."""

        def look() -> str | None:
            active = self.active(timeout_s=timeout_s)
            with self.client() as client:
                warm = [each.name for each in client.status().standbys if each.warm]
            return active if len(warm) == 2 else None

        return wait_for(look, "one active and two warm standbys", timeout_s)
