"""Converts a method's annotations to a command descriptor, and a request to its arguments.

The rules, oddities included, are those of ceph-mgr, so that a method means the same in both.
Annotations that ceph-mgr rejects are rejected here: a string annotation, ``X | None`` (write
``Optional[X]``), a bare ``list``.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections import abc
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Optional

from mgr.argument.types import CephArgtype, CephBool, CephChoices, CephFloat, CephInt, CephString

KNOWN_ARGS: Final = frozenset({"_", "self", "mgr", "inbuf", "return"})
"""Parameters of a handler that are not arguments of the command."""

END_POSITIONAL: Final = "_end_positional_"
"""A parameter of this name makes the parameters after it keyword arguments."""

_TYPES: Final[dict[Any, type[CephArgtype]]] = {
    str: CephString,
    int: CephInt,
    float: CephFloat,
    bool: CephBool,
}
_FLAGS: Final = (bool, Optional[bool])  # noqa: UP045 - the very object that is looked for


class CommandSignature(NamedTuple):
    """The arguments of a command, read from its handler's signature.

    Attributes:
        desc: The handler's docstring on one line.
        arg_spec: Annotations by parameter: ``return`` first if there is one, arguments added by
            decorators last.
        first_default: Index in ``arg_spec`` from which a missing value gets Python's default.
        args: The arguments as descriptor text.

    """

    desc: str
    arg_spec: dict[str, Any]
    first_default: int
    args: str


def derive(function: Callable[..., Any]) -> CommandSignature:
    """Read the command's arguments from ``function``, below all its decorators.

    Raises:
        KeyError: A parameter has no annotation.
        ValueError: An annotation is not supported in commands; the message names it.
        AssertionError: A ``Union`` that is not an ``Optional``, or a ``Tuple`` of mixed types.

    """
    innermost, extra = _unwrap(function)
    spec = inspect.getfullargspec(innermost)
    arg_spec = dict(spec.annotations)
    # The number of defaults is subtracted from the number of annotations, which include ``return``
    # and not ``self``. So without a return annotation the last required parameter is described as
    # optional, although a call requires it. ceph-mgr does the same, and help texts must not differ.
    first_default = len(arg_spec) - len(spec.defaults or ())
    described = []
    positional = True
    for index, name in enumerate(spec.args):
        if name in KNOWN_ARGS:
            continue
        if name == END_POSITIONAL:
            positional = False
            continue
        annotation = arg_spec[name]
        positional = positional and name != "format" and annotation not in _FLAGS
        has_default = index >= first_default
        described.append(
            _describe(name, annotation, has_default=has_default, positional=positional)
        )
    for name, annotation in extra.items():
        if name not in arg_spec:
            arg_spec[name] = annotation
            described.append(_describe(name, annotation, has_default=True, positional=False))
    desc = (inspect.getdoc(innermost) or "").replace("\n", " ")
    return CommandSignature(desc, arg_spec, first_default, " ".join(described))


def keywords(
    arg_spec: Mapping[str, Any], first_default: int, request: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keyword arguments for a call of the handler, converted as annotated.

    Raises:
        TypeError: A required number is missing.
        ValueError: A value cannot be converted, or its annotation is not supported.

    """
    converted = {}
    by_keyword = False
    for index, (name, annotation) in enumerate(arg_spec.items()):
        value = request.get(name)
        if name in KNOWN_ARGS or (value is None and index >= first_default):
            continue
        # If a value is ``k=v`` and ``k`` is a parameter, it sets ``k``. All values after it must
        # have that form, too.
        by_keyword = by_keyword or _names_parameter(value, arg_spec)
        target = name
        if by_keyword:
            if not isinstance(value, str):
                raise ValueError(f"{name}: expected key=value behind an earlier one, got {value!r}")
            target, equals, value = value.partition("=")
            if not equals:
                raise ValueError(
                    f"{name}: expected key=value behind an earlier one, got {target!r}"
                )
        converted[target.replace("-", "_")] = convert(annotation, value)
    return converted


def convert(annotation: Any, value: Any) -> Any:
    """Convert ``value`` to the type ``annotation``.

    A missing value is converted like any other: ``None`` becomes the text ``'None'`` for a ``str``.

    Raises:
        TypeError: It cannot be converted.
        ValueError: It cannot be converted, or the annotation is not supported.

    """
    if annotation in _TYPES or _is_enum(annotation):
        return annotation(value)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, abc.Sequence) and parts:
        return None if value is None else [convert(parts[0], each) for each in value]
    if origin is typing.Union:
        return convert(_unwrap_optional(parts), value)
    # Also Tuple[...] and instances of argument types, although they have a descriptor.
    raise ValueError(f"unknown type '{annotation}': '{value}'")


def _unwrap(function: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    extra: dict[str, Any] = {}
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        extra.update(getattr(function, "extra_args", {}))
        function = inner
    return function, extra


def _describe(name: str, annotation: Any, *, has_default: bool, positional: bool) -> str:
    attributes = {"name": name}
    if has_default:
        attributes["req"] = "false"
    if not positional:
        attributes["positional"] = "false"
    return _describe_type(annotation, attributes, positional=positional)


def _describe_type(annotation: Any, attributes: dict[str, str], *, positional: bool) -> str:
    if isinstance(annotation, CephArgtype):
        return annotation.argdesc(attributes)
    if _is_enum(annotation):
        return CephChoices(tp=annotation).argdesc(attributes)
    if isinstance(annotation, abc.Hashable) and annotation in _TYPES:
        return _TYPES[annotation]().argdesc(attributes)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, abc.Sequence) and parts:
        return _describe_type(parts[0], {**attributes, "n": "N"}, positional=positional)
    if origin is tuple and parts:
        if parts.count(parts[0]) != len(parts):
            raise AssertionError(f"all elements in {annotation} should be identical")
        return _describe_type(parts[0], {**attributes, "n": str(len(parts))}, positional=positional)
    if origin is typing.Union:
        inner = _unwrap_optional(parts)
        optional = {"name": attributes["name"], "req": "false", **attributes}
        return _describe_type(inner, optional, positional=positional)
    hint = " (written as text: remove `from __future__ import annotations`)"
    why = hint if isinstance(annotation, str) else ""
    raise ValueError(f"unknown type '{annotation}': '{attributes}'{why}")


def _unwrap_optional(parts: tuple[Any, ...]) -> Any:
    if len(parts) != 2 or parts[1] is not type(None):
        raise AssertionError(f"Union of {parts}: only Optional can be an argument")
    return parts[0]


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, enum.Enum)


def _names_parameter(value: Any, arg_spec: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and "=" in value and value.partition("=")[0] in arg_spec
