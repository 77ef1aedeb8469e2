"""The commands there are, as last heard from the active: for help, checks and completion.

Kept in a file, so that completion answers without speaking to anybody, and so that a manager
asked again says no more than "unchanged".
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from mgr.argument.descriptor import Signature
from mgr.argument.match import closest, match
from mgr.clock import utc_now
from mgr.errors import InvalidArgumentError, UnknownCommandError

FRESH_S: Final = 600.0
"""Completion trusts a table this long. By wall clock: a clock that jumps costs one question."""


class CachedCommand(msgspec.Struct, frozen=True):
    """One command; ``signature`` in the descriptor language."""

    signature: str
    help: str
    perm: str
    poll: bool
    module: str
    hidden: bool

    def parse_signature(self) -> Signature | None:
        """The signature; None if it is of a newer language than this client reads."""
        with contextlib.suppress(InvalidArgumentError):
            return Signature.parse(self.signature)
        return None


class CommandTable(msgspec.Struct, frozen=True):
    """Every command, and the tag by which the active knows whether it still holds."""

    etag: str = ""
    commands: tuple[CachedCommand, ...] = ()

    def visible(self) -> list[tuple[Signature, CachedCommand]]:
        """The commands that are not hidden, by their words."""
        pairs = [(entry.parse_signature(), entry) for entry in self.commands if not entry.hidden]
        return sorted(
            ((signature, entry) for signature, entry in pairs if signature),
            key=lambda pair: pair[0].words,
        )

    def find(self, words: Sequence[str], arguments: Mapping[str, Any]) -> CachedCommand:
        """The command that takes these words.

        Raises:
            UnknownCommandError: None begins so; the message names the closest ones.
            InvalidArgumentError: The words fit a command, the values do not.

        """
        known = {
            signature.prefix: (signature, entry)
            for entry in self.commands
            if (signature := entry.parse_signature())
        }
        for count in range(len(words), 0, -1):
            if hit := known.get(" ".join(words[:count])):
                signature, entry = hit
                match(words, arguments, signature)
                return entry
        shown = [signature for signature, _ in self.visible()]
        if below := [each for each in shown if each.words[: len(words)] == tuple(words)]:
            # Nothing was mistyped: somebody asks what there is.
            named = "".join(f"\n  {signature.usage()}" for signature in below)
            raise UnknownCommandError(f"'{' '.join(words)}' begins these commands:{named}")
        near = closest(words, shown)
        named = "".join(f"\n  {signature.usage()}" for signature in near)
        hint = f"; closest:{named}" if named else "; see: mgrctl help"
        raise UnknownCommandError(f"no command '{' '.join(words)}'{hint}")


def path(hosts: str, environment: Mapping[str, str]) -> Path:
    """Where the table of the cluster behind ``hosts`` is kept."""
    home = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "."), ".cache")
    cluster = hashlib.sha256(hosts.encode()).hexdigest()[:16]
    return Path(home, "mgr", f"commands-{cluster}.json")


def load(file: Path) -> CommandTable:
    """Read what was kept; an empty table if there is none, or it is unreadable."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(file.read_bytes(), type=CommandTable)
    return CommandTable()


def is_fresh(file: Path) -> bool:
    """Whether the table was heard of lately."""
    with contextlib.suppress(OSError):
        return 0 <= utc_now().timestamp() - file.stat().st_mtime < FRESH_S
    return False


def save(file: Path, table: CommandTable) -> None:
    """Keep ``table``. A home that cannot be written costs comfort, never the command."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place: another mgrctl may be reading.
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as fresh:
            fresh.write(msgspec.json.encode(table))
        Path(fresh.name).replace(file)


def touch(file: Path) -> None:
    """Note that the table was confirmed just now."""
    with contextlib.suppress(OSError):
        file.touch()
