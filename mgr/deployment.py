"""What a specification and an agent's order have in common: how a daemon is probed and limited.

The manager checks it when a specification is applied, the agent again before it does anything.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

PORT_MAX: Final = 65535
Port = Annotated[int, Meta(ge=1, le=PORT_MAX)]
Word = Annotated[str, Meta(min_length=1, max_length=4096)]


class Probe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is found out whether a daemon is ready: one of a port, a page, a command.

    Attributes:
        tcp: This port takes connections.
        http: ``PORT/PATH`` answers with a status below 400; empty: no page is asked for.
        command: This program, which the host has to allow, exits with 0.
        every_s: Seconds between two probes.
        timeout_s: Time limit of one probe.
        failures: So many failed probes in a row make a ready daemon unready.

    """

    tcp: Port | None = None
    http: Annotated[str, Meta(pattern=r"^([0-9]{1,5}/[!-~]*)?$", max_length=1000)] = ""
    command: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()
    every_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 2.0
    failures: Annotated[int, Meta(ge=1, le=100)] = 3

    def __post_init__(self) -> None:
        """Refuse a probe that has none of the three, or more than one."""
        if sum((self.tcp is not None, bool(self.http), bool(self.command))) != 1:
            raise ValueError("a probe has one of tcp, http and command")
        if self.http and not 1 <= int(self.http.partition("/")[0]) <= PORT_MAX:
            raise ValueError(f"the port of http in a probe is from 1 to {PORT_MAX}")


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one daemon: MiB of memory, processors as a fraction; None: no limit."""

    memory_mb: Annotated[int, Meta(ge=4, le=1 << 24)] | None = None
    cpus: Annotated[float, Meta(gt=0, le=4096)] | None = None
