"""Words to command: who answers what was typed, and with which arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mgr.argument.descriptor import Signature
from mgr.argument.match import closest, match
from mgr.errors import UnknownCommandError

BUILTIN: Final = "mgr"
"""What the manager calls itself among the modules; its own commands win over any module's."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it is declared.

    Attributes:
        signature: Prefix words and arguments.
        help: One line for people.
        perm: Letters of ``r``, ``w``, ``x``. With ``w`` it may change something, and a request
            id makes it run at most once.
        poll: It is meant to be repeated (``mgrctl --period``).
        module: Who answers; ``mgr`` for the manager's own.
        idempotent: Running it twice is as good as once: a retry across failover runs it again.
        hidden: Left out of help and of "closest commands".

    """

    signature: Signature
    help: str
    perm: str
    poll: bool = False
    module: str = BUILTIN
    idempotent: bool = False
    hidden: bool = False

    @property
    def prefix(self) -> str:
        """The literal words, joined by a blank."""
        return self.signature.prefix

    @property
    def mutates(self) -> bool:
        """Whether it may change something."""
        return "w" in self.perm
