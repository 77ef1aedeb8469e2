"""A parsed command line of ``mgrctl``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgr.tls import Tls


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """A parsed command line.

    Attributes:
        hosts: Managers to connect to, comma-separated.
        named: The user named the managers; they are not the default.
        table: The file that caches the commands of the cluster.
        query: How to transform the answer (``mgr.cli.query``); empty: print it as it is.
        quiet: Print no remarks beside the answer.
        watch: Repeat the command and redraw its answer.

    """

    words: tuple[str, ...]
    hosts: str
    table: Path
    tls: Tls | None = None
    format: str = ""
    in_file: str | None = None
    out_file: str | None = None
    query: str = ""
    period_s: float = 1.0
    timeout_s: float = 10.0
    verbose: bool = False
    quiet: bool = False
    watch: bool = False
    named: bool = True
