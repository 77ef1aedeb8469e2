"""A container engine: the one that answers, or one started for the test and stopped after it.

An engine of ours keeps to itself: its own socket, its own data, addresses of 198.18.0.0/15 only
(the range set aside for test networks), and a route that ends traffic to a network of it that
is gone. What it changes in the kernel is written down before and put back after.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.compose import debian
from tests.e2e.compose.debian import CACHE, Release
from tests.e2e.compose.shell import UnavailableError, run, say, succeeds
from tests.support.cluster import wait_for

RANGE: Final = "198.18.0.0/15"
BRIDGE: Final = "198.18.0.1/24"
POOL: Final = "base=198.18.128.0/17,size=24"
STATE: Final = Path("/run/mgr-tests")
SOCKET: Final = f"unix://{STATE}/docker.sock"
PLUGINS: Final = CACHE / "docker-config/cli-plugins"
TOOLS_SUITE: Final = "trixie"
FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass
class Engine:
    """An engine that answers. ``environment`` is what its clients need to find it."""

    ours: bool
    environment: dict[str, str] = field(default_factory=dict)

    def docker(
        self, *words: str | Path, limit_s: float = 60, check: bool = True, data: str = ""
    ) -> str:
        """Run ``docker WORDS`` with ``data`` as its input; what it printed."""
        return run(
            *("docker", *words),
            limit_s=limit_s,
            check=check,
            environment=self.environment,
            data=data,
        )

    def versions(self) -> str:
        """What runs here, for the record."""
        server = self.docker("version", "--format", "{{.Server.Version}}").strip()
        compose = self.docker("compose", "version", "--short").strip()
        return f"engine {server}, compose {compose}"


@contextlib.contextmanager
def running_engine() -> Iterator[Engine]:
    """Find or start an engine with Compose v2; one that was started here is stopped.

    Raises:
        UnavailableError: Neither is possible; the message says why.

    """
    if succeeds("docker", "version", limit_s=20):
        engine = Engine(ours=False)
        _need_compose(engine)
        yield engine
        return
    debian.require_root()
    debian.install("docker.io", "iptables", "iproute2", "ca-certificates")
    before = _Kernel.noted()
    try:
        with _daemon() as daemon:
            engine = Engine(ours=True, environment={"DOCKER_HOST": SOCKET})
            _wait_until_it_answers(engine, daemon)
            _need_compose(engine)
            yield engine
    finally:
        before.put_back()


@contextlib.contextmanager
def _daemon() -> Iterator[subprocess.Popen[bytes]]:
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(mode=0o700)
    words = [
        # Stopped in order even where the tests are killed: the kernel tells it.
        *("setpriv", "--pdeathsig", "TERM"),
        *("dockerd", "--host", SOCKET, "--pidfile", f"{STATE}/docker.pid"),
        *("--data-root", str(CACHE / "docker"), "--exec-root", f"{STATE}/exec"),
        *("--bip", BRIDGE, "--default-address-pool", POOL, "--mtu", str(_mtu())),
        *("--log-level", "warn"),
    ]
    say("starting an engine")
    with (STATE / "docker.log").open("wb") as log:
        daemon = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
    try:
        yield daemon
    finally:
        _stop(daemon)


def _wait_until_it_answers(engine: Engine, daemon: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        if daemon.poll() is not None:
            last = (STATE / "docker.log").read_text(errors="replace").splitlines()[-8:]
            raise UnavailableError("dockerd ended: " + "\n".join(last))
        asked = engine.docker("version", "--format", "{{.Server.Version}}", check=False)
        return asked[:1].isdigit()

    try:
        wait_for(answers, "dockerd to answer", timeout_s=60)
    except TimeoutError as error:
        raise UnavailableError(str(error)) from None


def _need_compose(engine: Engine) -> None:
    """See to Compose v2 and buildx, from Debian if this machine has none."""
    if "Docker Compose" in engine.docker("compose", "version", check=False):
        return
    debian.require_root()
    if not (PLUGINS / "docker-compose").exists():
        say(f"adding Compose v2 and buildx from Debian {TOOLS_SUITE}")
        tree = Release(TOOLS_SUITE).unpack(
            "docker-compose",
            "docker-buildx",
            wanted=lambda name: name in {"docker-compose", "docker-buildx"},
        )
        PLUGINS.mkdir(parents=True, exist_ok=True)
        for program in (tree / "usr/libexec/docker/cli-plugins").iterdir():
            shutil.copy2(program, PLUGINS / program.name)
    engine.environment["DOCKER_CONFIG"] = str(PLUGINS.parent)
    if "Docker Compose" not in engine.docker("compose", "version", check=False):
        raise UnavailableError("Compose v2 cannot be had for this docker client")


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(30)
    except subprocess.TimeoutExpired:
        # Its containers and containerd are in its process group or die with containerd.
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait(10)
    # It mounts its data on itself, and namespaces of networks; it does not always undo that.
    for mount in reversed(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()):
        place = Path(mount.split()[1])
        if place == CACHE / "docker" or place.is_relative_to(STATE):
            run("umount", place)


@dataclass
class _Kernel:
    """What an engine changes in the kernel, as it was before."""

    forwarding: str
    policy: str
    links: set[str]
    routed: bool

    @classmethod
    def noted(cls) -> _Kernel:
        chains = run("iptables", "-w", "-S", "FORWARD", check=False).split()
        routed = "unreachable" in run("ip", "route", "show", "type", "unreachable", RANGE)
        if not routed:
            # The lowest of all metrics: it counts only while no network of ours is there.
            run("ip", "route", "add", "unreachable", RANGE, "metric", "4294967295")
        policy = chains[2] if chains[:1] == ["-P"] else "ACCEPT"
        return cls(FORWARDING.read_text(), policy, _links(), routed)

    def put_back(self) -> None:
        for table in ("filter", "nat", "raw"):
            _forget_chains(table)
        run("iptables", "-w", "-P", "FORWARD", self.policy, check=False)
        for link in _links() - self.links:
            run("ip", "link", "delete", link, check=False)
        FORWARDING.write_text(self.forwarding)
        if not self.routed:
            run("ip", "route", "delete", "unreachable", RANGE, "metric", "4294967295", check=False)


def _links() -> set[str]:
    shown = json.loads(run("ip", "-json", "link", "show", "type", "bridge") or "[]")
    return {link["ifname"] for link in shown if link}


def _forget_chains(table: str) -> None:
    """Remove the engine's chains, and the rules that lead to them or name its bridges."""
    rules = run("iptables", "-w", "-t", table, "-S", check=False).splitlines()
    for rule in rules:
        words = rule.split()
        bridged = any(word.startswith(("br-", "docker0")) for word in words)
        if words[:1] == ["-A"] and (bridged or "-j DOCKER" in rule):
            run("iptables", "-w", "-t", table, "-D", *words[1:], check=False)
    chains = [rule.split()[1] for rule in rules if rule.startswith("-N DOCKER")]
    for action in ("-F", "-X"):
        for chain in chains:
            run("iptables", "-w", "-t", table, action, chain, check=False)


def _mtu() -> int:
    """That of the way out, or images would not be built where it is small."""
    routes = json.loads(run("ip", "-json", "route", "show", "default") or "[]")
    device = routes[0]["dev"] if routes else "lo"
    return min(1500, int(Path(f"/sys/class/net/{device}/mtu").read_text()))
