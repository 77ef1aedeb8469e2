"""Cache of the active's commands, for help, checks and completion.

It is stored in a file, so that completion needs no connection, and so that the active only has to
answer "unchanged" when it is asked again.
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
"""How long completion uses a table without asking. In wall-clock time, since it is a file's age: a
clock that jumps costs one extra request."""


class CachedCommand(msgspec.Struct, frozen=True):
    """One command; ``signature`` is in the descriptor language."""

    signature: str
    help: str
    perm: str
    poll: bool
    module: str
    hidden: bool

    def parse_signature(self) -> Signature | None:
        """Return the signature; None if its language is newer than this client."""
        with contextlib.suppress(InvalidArgumentError):
            return Signature.parse(self.signature)
        return None


class CommandTable(msgspec.Struct, frozen=True):
    """All commands, and the etag by which the active decides whether they are current."""

    etag: str = ""
    commands: tuple[CachedCommand, ...] = ()

    def visible(self) -> list[tuple[Signature, CachedCommand]]:
        """Return the commands that are not hidden, sorted by their words."""
        pairs = [(entry.parse_signature(), entry) for entry in self.commands if not entry.hidden]
        return sorted(
            ((signature, entry) for signature, entry in pairs if signature),
            key=lambda pair: pair[0].words,
        )

    def find(self, words: Sequence[str], arguments: Mapping[str, Any]) -> CachedCommand:
        """Return the command that takes these words.

        Raises:
            UnknownCommandError: No command begins with them; the message names the closest ones.
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
                match(words, arguments, signature, typed_here=True)
                return entry
        shown = [signature for signature, _ in self.visible()]
        if below := [each for each in shown if each.words[: len(words)] == tuple(words)]:
            # Nothing was mistyped: the words are the beginning of commands, so list all of them.
            named = "".join(f"\n  {signature.usage()}" for signature in below)
            raise UnknownCommandError(
                f"incomplete command '{' '.join(words)}'; it begins these commands:{named}"
            )
        near = closest(words, shown)
        named = "".join(f"\n  {signature.usage()}" for signature in near)
        hint = f"; closest:{named}" if named else "; see: mgrctl help"
        raise UnknownCommandError(f"no command '{' '.join(words)}'{hint}")


def path(hosts: str, environment: Mapping[str, str]) -> Path:
    """Return the file that caches the commands of the cluster behind ``hosts``."""
    home = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "."), ".cache")
    cluster = hashlib.sha256(hosts.encode()).hexdigest()[:16]
    return Path(home, "mgr", f"commands-{cluster}.json")


def load(file: Path) -> CommandTable:
    """Read a cached table; return an empty one if there is none, or it is unreadable."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(file.read_bytes(), type=CommandTable)
    return CommandTable()


def is_fresh(file: Path) -> bool:
    """Whether the table was fetched or confirmed less than ``FRESH_S`` ago."""
    with contextlib.suppress(OSError):
        return 0 <= utc_now().timestamp() - file.stat().st_mtime < FRESH_S
    return False


def save(file: Path, table: CommandTable) -> None:
    """Store ``table``; a failure is ignored, because the cache is only a convenience."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place: another mgrctl may be reading.
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as fresh:
            fresh.write(msgspec.json.encode(table))
        Path(fresh.name).replace(file)


def touch(file: Path) -> None:
    """Record that the active confirmed the table just now."""
    with contextlib.suppress(OSError):
        file.touch()
