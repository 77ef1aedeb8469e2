"""The compose files of deploy/, up; driven as a user drives them, and asked from outside."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from mgr.client.blocking import Client
from mgr.clock import CLOCK
from mgr.errors import MgrError
from mgr.tls import Tls
from tests.e2e.compose.engine import Engine
from tests.e2e.compose.transcript import Transcript
from tests.support.cluster import wait_for
from tests.support.tree import ROOT

COMPOSE: Final = "docker compose -f deploy/compose.yaml"
CHAOS: Final = f"{COMPOSE} -f deploy/compose.chaos.yaml"

README: Final = ROOT / "deploy/README.md"
ADMIN: Final = ROOT / ".cache/compose/mgr"
UP, LOOK, USE, KILL = range(4)
"""Its blocks of commands, in their order."""

NAMES: Final = ("mgr1", "mgr2", "mgr3")
PREFIXES: Final = range(74, 80)
"""What the published ports may begin with: the files' default, or the next where one is taken."""


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
        ports = free_prefix()
        self.grpc = {f"mgr{n}": f"127.0.0.1:{ports}1{n}" for n in (1, 2, 3)}
        self.http = {f"mgr{n}": f"https://127.0.0.1:{ports}3{n}" for n in (1, 2, 3)}
        self.pages = {f"mgr{n}": f"https://127.0.0.1:{ports}4{n}/" for n in (1, 2, 3)}
        self.balanced_grpc = f"127.0.0.1:{ports}00"
        self.balanced_http = f"https://127.0.0.1:{ports}80"
        self.environment = {
            **engine.environment,
            **settings,
            "MGR_PORTS": str(ports),
            "COMPOSE_PROJECT_NAME": self.project,
            "MGR_IMAGE": "mgr-test",
            "CHAOS_IMAGE": "mgr-test-chaos",
            # Where deploy/README.md puts the administrator's certificate, for mgrctl outside.
            "XDG_CONFIG_HOME": str(ADMIN.parent),
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
            ["timeout", "-k", "5", str(limit_s), "bash", "-ec", line],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s + 10,
            check=False,
        )
        self.transcript.typed(line.replace(self.project, "mgr"), done.stdout, CLOCK.now() - begun)
        assert not check or done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    def as_written(self, block: int) -> str:
        """Run the n-th block of commands of deploy/README.md, as it stands there."""
        blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
        ports = self.environment["MGR_PORTS"]
        here = blocks[block].strip().replace(":74", f":{ports}").replace(" 74", f" {ports}")
        return self.typed(here, limit_s=240 if block == UP else 90)

    @property
    def tls(self) -> Tls:
        """What an administrator outside trusts and presents."""
        return Tls.from_folder(str(ADMIN))

    @property
    def trust(self) -> ssl.SSLContext:
        """The cluster's CA and the administrator's certificate, for HTTP."""
        context = ssl.create_default_context(cafile=str(ADMIN / "ca.crt"))
        context.load_cert_chain(ADMIN / "client.pem")
        return context

    def get(self, url: str, **how: Any) -> httpx.Response:
        """GET a page of a manager."""
        return httpx.get(url, verify=self.trust, **how)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every manager's published gRPC address."""
        return tuple(self.grpc.values())

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
        return Client(hosts or self.hosts, tls=self.tls)

    def execute(self, *words: str, **arguments: Any) -> Any:
        """Run one command from outside; its answer."""
        with self.client() as client:
            return client.execute(list(words), arguments)

    def seen(self, manager: str) -> Seen | None:
        """What a manager answers on its published port; None: nothing."""
        try:
            answer = self.get(f"{self.http[manager]}/active", timeout=1)
        except httpx.TransportError:
            return None
        known = answer.json()
        return Seen(answer.status_code == 200, known["active"], known["term"])

    def leading(self) -> list[str]:
        """Every manager that says from outside that it leads."""
        return [name for name in NAMES if (seen := self.seen(name)) and seen.leads]

    def never_leads(self, manager: str, *, term: int, timeout_s: float = 30) -> None:
        """Ask ``manager`` until it knows of a newer term; fail if it ever leads in ``term``."""

        def probe() -> bool:
            seen = self.seen(manager)
            leads = seen is not None and seen.leads and seen.term <= term
            assert not leads, f"{manager} answers as the active"
            return seen is not None and seen.term > term

        wait_for(probe, f"{manager} to know of a newer term", timeout_s)

    def active(self, *, other_than: str = "", timeout_s: float = 30) -> str:
        """Wait until one manager leads and answers a command; its name."""

        def probe() -> str | None:
            leading = self.leading()
            if len(leading) != 1 or leading == [other_than]:
                return None
            try:
                return leading[0] if self.execute("mgr", "stat").retval == 0 else None
            except MgrError:
                return None

        return wait_for(probe, f"an active manager other than {other_than!r}", timeout_s)

    def settled(self, timeout_s: float = 60) -> str:
        """Wait until one manager leads and two are warm standbys; the name of the active."""

        def probe() -> str | None:
            active = self.active(timeout_s=timeout_s)
            with self.client() as client:
                warm = [each.name for each in client.status().standbys if each.warm]
            return active if len(warm) == 2 else None

        return wait_for(probe, "one active and two warm standbys", timeout_s)


def free_prefix() -> int:
    """The first prefix under which every port that is to be published is free."""

    def free(port: int) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return probe.connect_ex(("127.0.0.1", port)) != 0

    ends = ("00", "80", *(f"{kind}{n}" for kind in (1, 3, 4) for n in (1, 2, 3)))
    return next(p for p in PREFIXES if all(free(int(f"{p}{end}")) for end in ends))
