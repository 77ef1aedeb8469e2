"""Formats the object that a command returned as JSON or YAML."""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, Protocol, TypeGuard

import yaml

DEFAULT_JSON_INDENT: Final = 2

SimpleData = Any
"""What JSON can represent: None, bool, numbers, text, lists and dictionaries of those."""


class Format(str, Enum):  # noqa: UP042 - str() of a member prints as it does in ceph-mgr
    """The values of ``--format``. A command need not support all of them."""

    plain = "plain"
    json = "json"
    json_pretty = "json-pretty"
    yaml = "yaml"
    xml_pretty = "xml-pretty"
    xml = "xml"


class SimpleDataProvider(Protocol):
    """An object that can convert itself to simple data."""

    def to_simplified(self) -> SimpleData:
        """The object as simple data."""
        ...


class JSONDataProvider(Protocol):
    """An object with its own simple data for JSON; used in compatible mode only."""

    def to_json(self) -> SimpleData:
        """The object as simple data. Not as text."""
        ...


class YAMLDataProvider(Protocol):
    """An object with its own simple data for YAML; used in compatible mode only."""

    def to_yaml(self) -> SimpleData:
        """The object as simple data. Not as text."""
        ...


class JSONFormatter(Protocol):
    """An object that can be formatted as JSON."""

    def format_json(self) -> str:
        """JSON text."""
        ...


class YAMLFormatter(Protocol):
    """An object that can be formatted as YAML."""

    def format_yaml(self) -> str:
        """YAML text."""
        ...


class CommonFormatter(Protocol):
    """An object with a method ``format_<name>()`` for each format it supports."""

    def valid_formats(self) -> AbstractSet[str]:
        """Return the known format names, with underscores. Some may have no method."""
        ...


class ObjectFormatAdapter:
    """Formats any object that is simple data or that can convert itself to simple data.

    With ``compatible``, an object's ``to_json()`` and ``to_yaml()`` take precedence. Keys are
    sorted unless ``sort_json`` or ``sort_yaml`` is False.
    """

    def __init__(
        self,
        obj: Any,
        json_indent: int | None = DEFAULT_JSON_INDENT,
        compatible: bool = False,  # noqa: FBT001, FBT002 - positional in code written for ceph-mgr
        *,
        sort_json: bool | None = None,
        sort_yaml: bool | None = None,
    ) -> None:
        self.obj = obj
        self.json_indent = json_indent
        self._compatible = compatible
        self._sort_json = sort_json is not False
        self._sort_yaml = sort_yaml is not False

    def format_json(self) -> str:
        """JSON text.

        Raises:
            TypeError: The object contains a value that JSON cannot represent.

        """
        return json.dumps(self._json_data(), indent=self.json_indent, sort_keys=self._sort_json)

    format_json_pretty = format_json

    def format_yaml(self) -> str:
        """YAML text.

        Raises:
            yaml.YAMLError: The object contains a value that safe YAML cannot represent.

        """
        return yaml.safe_dump(self._yaml_data(), sort_keys=self._sort_yaml)

    def valid_formats(self) -> AbstractSet[str]:
        """Return the name of every format."""
        return set(Format.__members__)

    def _json_data(self) -> SimpleData:
        if self._compatible and _has(self.obj, "to_json"):
            return self.obj.to_json()
        if _has(self.obj, "to_simplified"):
            return self.obj.to_simplified()
        return self.obj

    def _yaml_data(self) -> SimpleData:
        if self._compatible and _has(self.obj, "to_yaml"):
            return self.obj.to_yaml()
        return self._json_data()


def _has(obj: Any, method: str) -> TypeGuard[Any]:
    # By attribute, not by isinstance: the classes of modules do not derive from ours.
    return callable(getattr(obj, method, None))
