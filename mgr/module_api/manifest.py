"""A module's manifest: what it reaches beyond its own options and entries.

``MANIFEST`` in the class, a dictionary, or ``manifest.toml`` beside ``module.py``. A module without
one may reach all that ceph-mgr gives. With ``enforce`` what is not listed is denied, by
``mgr.module_api.confined_context``.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import msgspec

ATTRIBUTE: Final = "MANIFEST"
FILE: Final = "manifest.toml"
ANY: Final = "*"


class InvalidManifestError(ValueError):
    """A manifest cannot be read; the text names the place and the reason."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one module reaches. Each list has patterns with ``*`` as in file names.

    Attributes:
        enforce: Deny what is not listed.
        commands: First words of the commands it sends: ``health`` also allows ``health detail``.
        store: Prefixes of its own keys that it reads and writes; by default all of them.
        options: Other modules' options as ``module/option``, and names of the manager's options
            that it reads as another daemon would.
        maps: Documents that it reads with ``get`` and maps that it reads and publishes.
        remote: Other modules' methods that it calls, as ``module.method``; ``module`` for all.
        daemons: Daemons whose data it reads and that it sends commands to, as ``type.id``.

    """

    enforce: bool = False
    commands: tuple[str, ...] = ()
    store: tuple[str, ...] = ("",)
    options: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()
    daemons: tuple[str, ...] = ()

    def allows_command(self, words: Iterable[str]) -> bool:
        """Return whether it may send the command with these words, arguments left out."""
        given = tuple(words)
        return any(
            pattern == ANY or given[: len(pattern.split())] == tuple(pattern.split())
            for pattern in self.commands
        )

    def allows_key(self, key: str) -> bool:
        """Return whether it may read and write its own ``key``; also for the prefix of keys."""
        return key.startswith(self.store)

    def allows_option(self, name: str) -> bool:
        """Return whether it may read and set the option ``module/option``, or the manager's."""
        return _matches(name, self.options)

    def allows_map(self, name: str) -> bool:
        """Return whether it may read the document or map ``name``, and publish the map."""
        return _matches(name, self.maps)

    def allows_remote(self, module: str, method: str) -> bool:
        """Return whether it may call ``method`` of ``module``."""
        return _matches(f"{module}.{method}", self.remote) or _matches(module, self.remote)

    def allows_daemon(self, name: str) -> bool:
        """Return whether it may reach the daemon ``type.id``."""
        return _matches(name, self.daemons)

    def allows_daemons_of(self, kind: str) -> bool:
        """Return whether it may reach every daemon of type ``kind``."""
        return any(pattern in {ANY, f"{kind}.*"} for pattern in self.daemons)

    def allows_type(self, kind: str) -> bool:
        """Return whether it may reach some daemon of type ``kind``."""
        return any(fnmatchcase(kind, pattern.partition(".")[0]) for pattern in self.daemons)


def manifest_of(cls: type, place: Path | None) -> Manifest | None:
    """Return the manifest of the module with this class and folder; None if it has none.

    Raises:
        InvalidManifestError: It is malformed, or the module has two.

    """
    declared = getattr(cls, ATTRIBUTE, None)
    file = None if place is None else place / FILE
    in_file = file is not None and file.is_file()
    if declared is not None and in_file:
        raise InvalidManifestError(
            f"two manifests: {ATTRIBUTE} in {cls.__name__} and {file}; remove one"
        )
    if in_file and file is not None:
        try:
            return _parse(tomllib.loads(file.read_text(encoding="utf-8")), str(file))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidManifestError(f"{file}: {error}") from None
    if declared is None:
        return None
    return _parse(declared, f"{ATTRIBUTE} in {cls.__name__}")


def folder_of(cls: type) -> Path | None:
    """Return the folder of the file that defines ``cls``; None if no file does."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(file).parent if file else None


def as_document(manifest: Manifest | None) -> Mapping[str, Any] | None:
    """Return the manifest as plain data, as ``mgr module info`` shows it."""
    if manifest is None:
        return None
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }


def _parse(value: object, place: str) -> Manifest:
    try:
        return msgspec.convert(value, Manifest)
    except msgspec.ValidationError as error:
        raise InvalidManifestError(f"{place}: {error}") from None


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
