"""The files that ``mgrd init`` and ``mgrd join`` write, and the settings that name them."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mgr.addresses import split_address
from mgr.errors import InvalidSettingError
from mgr.pki.private_key import PRIVATE, PUBLIC, write_file
from mgr.settings import Settings, load
from mgr.tls import CA_FILE, CLIENT_FILE, MANAGER_FILE, PASSPHRASE_FILE

CONFIG_FILE: Final = "/etc/mgr/mgr.toml"
FOLDER: Final = "/var/lib/mgr"
JOIN_PORT: Final = 7401
FOLDER_MODE: Final = 0o700
FILE_SUFFIXES: Final = ("_ca", "_cert", "_key", "_file", "_dir")
"""Endings of the names of settings whose values are files or folders."""


class Writer:
    """Writes files that do not exist yet, and removes them again if the work fails."""

    def __init__(self) -> None:
        self._written: list[Path] = []

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Remove what was written if the block raises."""
        try:
            yield
        except BaseException:
            for path in reversed(self._written):
                path.unlink(missing_ok=True)
            raise

    def write(
        self,
        path: Path,
        content: str | bytes,
        *,
        mode: int = PRIVATE,
        folder_mode: int = FOLDER_MODE,
    ) -> None:
        """Write ``path``, and make its folder if it is absent (by default for its owner only).

        Raises:
            InvalidSettingError: It exists already, or cannot be written.

        """
        if path.exists():
            raise InvalidSettingError(f"{path} exists already: remove it, or take another folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=folder_mode)
            write_file(path, content.encode() if isinstance(content, str) else content, mode=mode)
        except OSError as error:
            raise InvalidSettingError(f"cannot write {path}: {error.strerror}") from None
        self._written.append(path)

    def manager(self, folder: Path, pem: bytes, ca: str, passphrase: bytes) -> None:
        """Write the content of ``tls_dir``; without ``passphrase`` this manager cannot sign."""
        self.write(folder / CA_FILE, ca, mode=PUBLIC)
        if passphrase:
            self.write(folder / PASSPHRASE_FILE, passphrase + b"\n")
        self.write(folder / MANAGER_FILE, pem)

    def client(self, folder: Path, pem: bytes, ca: str, hosts: str) -> None:
        """Write the certificate and the ``config.toml`` of a user of ``mgrctl``."""
        self.write(folder / CA_FILE, ca, mode=PUBLIC)
        lines = {
            "hosts": hosts.split(","),
            "tls_ca": CA_FILE,
            "tls_cert": CLIENT_FILE,
            "tls_key": CLIENT_FILE,
        }
        self.write(folder / "config.toml", toml(lines))
        self.write(folder / CLIENT_FILE, pem)


def settings_of(config: str, flags: Mapping[str, str | None]) -> tuple[Settings, dict[str, str]]:
    """Load settings as ``mgrd`` would, from ``config`` only if it exists; and what flags gave.

    Raises:
        InvalidSettingError: A setting is invalid.

    """
    given = {name: value for name, value in flags.items() if value is not None}
    file = config if Path(config).exists() else None
    # The certificates do not exist yet, and the addresses may be open until they do.
    return load(file=file, environment=os.environ, flags=given), given


def join_listen_of(settings: Settings) -> str:
    """Return where the manager listens for joins: as set, else ``JOIN_PORT`` beside gRPC."""
    if settings.join_listen:
        return settings.join_listen
    host, _ = split_address(settings.grpc_listen, "grpc_listen")
    return f"[{host}]:{JOIN_PORT}" if ":" in host else f"{host}:{JOIN_PORT}"


def settings_text(settings: Settings, given: Mapping[str, str], added: Mapping[str, Any]) -> str:
    """Return a settings file with the flags that were given and ``added``.

    Files and folders are absolute in it: a manager may be started anywhere.
    """
    values = {name: getattr(settings, name) for name in ("id", "cluster", "etcd", *given)}
    files = {name: absolute(Path(values[name])) for name in values if _is_file(name, values)}
    return toml({**values, **files, **added})


def lacking_lines(config: str, text: str) -> list[str]:
    """Return the lines of ``text`` that a manager started with ``config`` would not know.

    Raises:
        InvalidSettingError: A setting in the file is invalid.

    """
    known = load(file=config, environment=os.environ, flags={})
    wanted = tomllib.loads(text)
    return toml({n: v for n, v in wanted.items() if _plain(getattr(known, n)) != v}).splitlines()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def absolute(path: Path) -> str:
    """Return ``path`` as it is reached from everywhere on this host."""
    return str(path.expanduser().absolute())


def _is_file(name: str, values: Mapping[str, Any]) -> bool:
    return name.endswith(FILE_SUFFIXES) and isinstance(values[name], str) and bool(values[name])


def toml(values: Mapping[str, Any]) -> str:
    """Format ``values``, texts, numbers, truth values and lists of texts, as TOML."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_value, value))}]"
    # A JSON text is a TOML text if nothing but ASCII stands in it, and so are numbers and booleans.
    return json.dumps(value, ensure_ascii=True)
