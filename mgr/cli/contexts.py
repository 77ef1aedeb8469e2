"""Contexts: the clusters that a user of ``mgrctl`` works with, by name, in one file.

The file is ``mgr/contexts.toml`` in the user's configuration folder::

    current = "prod"

    [contexts.prod]
    hosts = ["mgr1:7400", "mgr2:7400"]
    tls_ca = "prod/ca.crt"

A context has the values that ``config.toml`` may have. It is used as a whole: once a context is
chosen, environment variables that name managers or certificates are ignored, so that the token of
one cluster is never shown to another.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mgr.cli.config import (
    CLIENT_VARIABLES,
    HOSTS_VARIABLE,
    FileConfig,
    load_config,
    read_toml,
    relative_to,
    user_folder,
)
from mgr.errors import InvalidArgumentError, InvalidSettingError, NotFoundError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

CONTEXT_VARIABLE: Final = "MGR_CONTEXT"
FILE: Final = "contexts.toml"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
PRIVATE: Final = 0o600


class Contexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of the file: every context by its name, and the one that is used by default."""

    current: str = ""
    contexts: dict[str, FileConfig] = {}


def path(environment: Mapping[str, str]) -> Path:
    """Return the path of the user's file of contexts."""
    return user_folder(environment) / FILE


def load(environment: Mapping[str, str]) -> Contexts:
    """Read the contexts; there are none if the file does not exist.

    Raises:
        InvalidSettingError: It is unreadable or invalid; the message names the file and the place.

    """
    file = path(environment)
    values = read_toml(file)
    if values is None:
        return Contexts()
    contexts = values.get("contexts")
    for each in contexts.values() if isinstance(contexts, dict) else ():
        relative_to(file.parent, each)
    try:
        return msgspec.convert(values, Contexts)
    except msgspec.ValidationError as error:
        raise InvalidSettingError(f"{file}: {error}") from None


def names(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the contexts, for completion: none if the file cannot be read."""
    with contextlib.suppress(InvalidSettingError):
        return sorted(load(environment).contexts)
    return []


def chosen(
    named: str | None, hosts: str | None, environment: Mapping[str, str]
) -> tuple[FileConfig, Mapping[str, str]]:
    """Return the configuration of this call, and the environment that may change it.

    ``named`` is the context of the command line, else MGR_CONTEXT has one. The current one of the
    file counts only where ``hosts`` and MGR_HOSTS are empty.

    Raises:
        InvalidSettingError: There is no such context, or a file cannot be read.

    """
    name = named or environment.get(CONTEXT_VARIABLE)
    if not name and (hosts or environment.get(HOSTS_VARIABLE)):
        return load_config(environment), environment
    found = load(environment)
    name = name or found.current
    if not name:
        return load_config(environment), environment
    if name not in found.contexts:
        raise InvalidSettingError(
            f"there is no context '{name}' in {path(environment)}; see: mgrctl context ls"
        )
    own = {key: text for key, text in environment.items() if key not in CLIENT_VARIABLES}
    return found.contexts[name], own


def add(environment: Mapping[str, str], name: str, values: Mapping[str, Any], *, use: bool) -> bool:
    """Add context ``name``, or replace it; return whether it is the current one now.

    The first context becomes the current one, and so does one that is added with ``use``.

    Raises:
        InvalidArgumentError: The name is not valid.
        InvalidSettingError: The file cannot be read or written.

    """
    if not NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"context '{name}': use 1 to 63 of A-Z a-z 0-9 _ . - and begin with a letter or digit"
        )
    import tomlkit  # noqa: PLC0415 - only what changes the file needs it

    load(environment)
    document = _document(environment)
    if "contexts" not in document:
        document["contexts"] = tomlkit.table(is_super_table=True)
    table = tomlkit.table()
    table.update({key: value for key, value in values.items() if value})
    document["contexts"][name] = table
    current = use or not document.get("current")
    _write(environment, _with_current(document, name) if current else tomlkit.dumps(document))
    return current


def use(environment: Mapping[str, str], name: str) -> None:
    """Make context ``name`` the current one; an empty name: none.

    Raises:
        NotFoundError: There is no such context.
        InvalidSettingError: The file cannot be read or written.

    """
    _require(environment, name) if name else load(environment)
    _write(environment, _with_current(_document(environment), name))


def remove(environment: Mapping[str, str], name: str) -> None:
    """Remove context ``name``; its certificates stay where they are.

    Raises:
        NotFoundError: There is no such context.
        InvalidSettingError: The file cannot be read or written.

    """
    _require(environment, name)
    document = _document(environment)
    del document["contexts"][name]
    current = str(document.get("current", ""))
    _write(environment, _with_current(document, "" if current == name else current))


def _require(environment: Mapping[str, str], name: str) -> None:
    known = load(environment).contexts
    if name not in known:
        raise NotFoundError(f"there is no context '{name}'; known: {', '.join(known) or 'none'}")


def _with_current(document: TOMLDocument, name: str) -> str:
    """Return the text of ``document`` with ``name`` as the current context; empty: with none."""
    import tomlkit  # noqa: PLC0415 - as above

    document.pop("current", None)
    text = tomlkit.dumps(document)
    # Before the first table: a line after it would belong to that table.
    return f'current = "{name}"\n{text}' if name else text


def _document(environment: Mapping[str, str]) -> TOMLDocument:
    # Changed, not rewritten: comments and the order of the lines stay.
    import tomlkit  # noqa: PLC0415 - as above

    try:
        return tomlkit.parse(path(environment).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()


def _write(environment: Mapping[str, str], text: str) -> None:
    import tempfile  # noqa: PLC0415 - as above

    file = path(environment)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Created private and renamed into place: only its owner reads it, and never half of it.
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
            draft.write(text.encode())
        os.chmod(draft.name, PRIVATE)  # noqa: PTH101 - a name, no path
        Path(draft.name).replace(file)
    except OSError as error:
        raise InvalidSettingError(f"cannot write {file}: {error.strerror}") from None
