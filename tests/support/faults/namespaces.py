"""Hosts on one machine: a network namespace each, joined by a switch, cut by nftables.

The switch has a namespace of its own and nobody has a default route, so nothing can leave. This
process stands on the switch as well, with an address of its own, to be the clients' host.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tests.support import debian

CLIENTS: Final = "clients"
COMMAND_S: Final = 10
SUITE: Final = "bookworm"
PACKAGES: Final = (
    "nftables", "libnftables1", "libnftnl11", "libmnl0", "libjansson4", "libxtables12",
    "libedit2", "libgmp10", "libbsd0", "libmd0", "libtinfo6",
)  # fmt: skip
TABLE: Final = "table inet lab"


@functools.cache
def unavailable() -> str:
    """Why there can be none here; empty if there can."""
    if os.geteuid():
        return "network namespaces need root"
    name = f"try{os.getpid()}"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "netns", "del", name)
        _nft()
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces or no nftables here: {error}"
    return ""


class Namespaces:
    """Hosts by name. Use as a context manager."""

    def __init__(self, names: Sequence[str]) -> None:
        """One host for each name."""
        self._mark = f"lab{os.getpid()}"
        net = f"100.64.{os.getpid() % 250 + 1}"
        self.addresses = {name: f"{net}.{10 + n}" for n, name in enumerate(names)}
        self.addresses[CLIENTS] = f"{net}.200"
        self._hosts = tuple(names)

    def __enter__(self) -> Self:
        switch = self._space("sw")
        try:
            _run("ip", "netns", "add", switch)
            _run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
            _run("ip", "-n", switch, "link", "set", "br0", "up")
            for name in self._hosts:
                self._plug(name)
            near = f"{self._mark}h"
            _run("ip", "link", "add", near, "type", "veth", "peer", "name", "v-h", "netns", switch)
            _run("ip", "-n", switch, "link", "set", "v-h", "master", "br0", "up")
            _run("ip", "addr", "add", f"{self.addresses[CLIENTS]}/24", "dev", near)
            _run("ip", "link", "set", near, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("sw", *self._hosts):
            subprocess.run(
                ["ip", "netns", "del", self._space(name)], check=False, stderr=subprocess.DEVNULL
            )

    def within(self, name: str) -> tuple[str, ...]:
        """What to put before a command so that it runs on this host; the process is the same."""
        return ("ip", "netns", "exec", self._space(name))

    def unplug(self, name: str) -> None:
        """Pull its cable."""
        _run("ip", "-n", self._space("sw"), "link", "set", f"v-{name}", "down")

    def cut(self, name: str, other: str) -> None:
        """Let nothing pass between two hosts."""
        there = self.addresses[other]
        self._rules(name, f"ip saddr {there} drop", f"ip daddr {there} drop")

    def deafen(self, name: str) -> None:
        """What it sends arrives; nothing comes in."""
        self._rules(name, "ip saddr != 127.0.0.1 drop", "")

    def lose(self, name: str, share: float) -> None:
        """Lose this share of all packets, in each direction."""
        rng = f"ip saddr != 127.0.0.1 numgen random mod 1000 < {share * 1000:.0f} drop"
        self._rules(name, rng, rng)

    def heal(self) -> None:
        """Plug everybody in and let everything pass."""
        for name in self._hosts:
            _run("ip", "-n", self._space("sw"), "link", "set", f"v-{name}", "up")
            self._apply(name, f"{TABLE} {{}}\ndelete {TABLE}\n")

    def _space(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def _plug(self, name: str) -> None:
        switch, space = self._space("sw"), self._space(name)
        _run("ip", "netns", "add", space)
        far = ("peer", "name", "eth0", "netns", space)
        _run("ip", "-n", switch, "link", "add", f"v-{name}", "type", "veth", *far)
        _run("ip", "-n", switch, "link", "set", f"v-{name}", "master", "br0", "up")
        _run("ip", "-n", space, "addr", "add", f"{self.addresses[name]}/24", "dev", "eth0")
        _run("ip", "-n", space, "link", "set", "lo", "up")
        _run("ip", "-n", space, "link", "set", "eth0", "up")

    def _rules(self, name: str, entering: str, leaving: str) -> None:
        chain = "type filter hook {0} priority 0;"
        self._apply(
            name,
            f"add {TABLE}\n"
            f"add chain inet lab in {{ {chain.format('input')} }}\n"
            f"add chain inet lab out {{ {chain.format('output')} }}\n"
            + (f"add rule inet lab in {entering}\n" if entering else "")
            + (f"add rule inet lab out {leaving}\n" if leaving else ""),
        )

    def _apply(self, name: str, rules: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            file.write(rules)
            file.flush()
            _run(*self.within(name), *_nft(), "-f", file.name)


@functools.cache
def _nft() -> tuple[str, ...]:
    """The command; from Debian's package, unpacked beside the machine, where it is not there."""
    root = debian.unpacked(SUITE, PACKAGES, debian.CACHE / "nftables")
    folders = {str(path.parent) for path in Path(root).rglob("*.so*")}
    return ("env", f"LD_LIBRARY_PATH={':'.join(sorted(folders))}", str(root / "usr/sbin/nft"))


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=COMMAND_S)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
