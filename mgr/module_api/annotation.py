"""Converts a method's annotations to a command descriptor, and a request to its arguments.

The rules are those of ceph-mgr, so that a method means the same in both, except where a method
would be called wrongly there (docs/adr/0007).
Annotations that ceph-mgr rejects are rejected here: a string annotation, ``X | None`` (write
``Optional[X]``), a bare ``list``.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Optional

from mgr.argument.types import (
    ArgumentMissing,
    CephArgtype,
    CephBool,
    CephChoices,
    CephFloat,
    CephInt,
    CephString,
)

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
_BY_NAME_ONLY: Final = frozenset({inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD})
_FLAGS: Final = (bool, Optional[bool])  # noqa: UP045 - the very object that is looked for


class SignatureError(ValueError):
    """A handler that cannot be a command; the text names the parameter and the reason."""


class CommandSignature(NamedTuple):
    """The arguments of a command, read from its handler's signature.

    Attributes:
        desc: The handler's docstring on one line.
        arg_spec: Annotations by parameter: first those that are no arguments, then the arguments
            without a default, then those with one; arguments added by decorators last.
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
        SignatureError: A parameter has no annotation, or one that commands do not support, or
            cannot be given by name; the message names it.

    """
    innermost, extra = _unwrap(function)
    special: dict[str, Any] = {}
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    described = []
    positional = True
    for parameter in _parameters(innermost):
        name = parameter.name
        has_default = parameter.default is not parameter.empty
        if name in KNOWN_ARGS:
            special[name] = Any if parameter.annotation is parameter.empty else parameter.annotation
            continue
        if name == END_POSITIONAL:
            positional = False
            continue
        annotation = _annotation(parameter)
        positional = positional and name != "format" and annotation not in _FLAGS
        positional = positional and parameter.kind is not parameter.KEYWORD_ONLY
        (optional if has_default else required)[name] = annotation
        described.append(
            _describe(name, annotation, has_default=has_default, positional=positional)
        )
    arg_spec = {**special, **required, **optional}
    for name, annotation in extra.items():
        if name not in arg_spec:
            arg_spec[name] = annotation
            described.append(_describe(name, annotation, has_default=True, positional=False))
    desc = (inspect.getdoc(innermost) or "").replace("\n", " ")
    return CommandSignature(desc, arg_spec, len(special) + len(required), " ".join(described))


def check_callable(function: Callable[..., Any]) -> None:
    """Check that a handler can be called with the module and its arguments by name.

    Raises:
        SignatureError: It cannot; the message names the parameter and says what to write.

    """
    innermost, _ = _unwrap(function)
    if inspect.iscoroutinefunction(function):
        raise SignatureError(
            "it is a coroutine function, which nothing awaits: "
            "write `def`, and asyncio.run() inside"
        )
    parameters = list(inspect.signature(innermost).parameters.values())
    if not parameters or parameters[0].kind in _BY_NAME_ONLY:
        raise SignatureError("it has no first parameter for the module: write `self`")
    if parameters[0].name not in KNOWN_ARGS and not _receives_module(parameters[0]):
        raise SignatureError(
            f"its first parameter {parameters[0].name!r} would receive the module: "
            "write `self` before it"
        )
    for parameter in parameters[1:]:
        name, needed = parameter.name, parameter.default is parameter.empty
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise SignatureError(f"parameter {name!r} cannot be given by name: remove the `/`")
        if needed and (name == END_POSITIONAL or name in KNOWN_ARGS - {"inbuf"}):
            raise SignatureError(f"parameter {name!r} is not an argument: give it a default")


def needs_input(function: Callable[..., Any]) -> bool:
    """Return whether ``function`` itself, not one below a decorator, fails without ``-i FILE``."""
    if hasattr(function, "__wrapped__"):
        return False
    inbuf = inspect.signature(function).parameters.get("inbuf")
    return inbuf is not None and inbuf.default is inbuf.empty


def keywords(
    arg_spec: Mapping[str, Any], first_default: int, request: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keyword arguments for a call of the handler, converted as annotated.

    Raises:
        ArgumentMissing: A required argument is missing.
        ValueError: A value cannot be converted, or its annotation is not supported.

    """
    converted = {}
    by_keyword = False
    for name, annotation in arg_spec.items():
        value = request.get(name)
        if name in KNOWN_ARGS or value is None:
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
    hint = "; a value name=value gives the argument of that name" if by_keyword else ""
    _fill_missing(arg_spec, first_default, converted, hint)
    return converted


def _fill_missing(
    arg_spec: Mapping[str, Any], first_default: int, converted: dict[str, Any], hint: str
) -> None:
    for name, annotation in list(arg_spec.items())[:first_default]:
        if name in KNOWN_ARGS or name in converted:
            continue
        if annotation is not bool and not _is_optional(annotation):
            raise ArgumentMissing(f"argument {name!r} is required and was not given{hint}")
        converted[name] = False if annotation is bool else None


def convert(annotation: Any, value: Any) -> Any:
    """Convert ``value`` to the type ``annotation``.

    Raises:
        TypeError: It cannot be converted.
        ValueError: It cannot be converted, or the annotation is not supported.

    """
    if isinstance(annotation, CephArgtype):
        return annotation.accept(value)
    if annotation in _TYPES or _is_enum(annotation):
        return annotation(value)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, abc.Sequence) and parts:
        return [convert(parts[0], each) for each in value]
    if origin is tuple and parts:
        return tuple(convert(parts[0], each) for each in value)
    if origin is typing.Union:
        return convert(parts[0], value)
    raise ValueError(f"unknown type '{annotation}': '{value}'")


def _unwrap(function: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    extra: dict[str, Any] = {}
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        extra.update(getattr(function, "extra_args", {}))
        function = inner
    return function, extra


def _parameters(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """Yield the parameters that are given by name: not ``*args``, nor the one for the module."""
    for index, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        if index == 0 and parameter.name not in KNOWN_ARGS and _receives_module(parameter):
            continue
        # ceph-mgr never gives a keyword-only parameter that has no annotation.
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.annotation is parameter.empty:
            continue
        yield parameter


def _receives_module(parameter: inspect.Parameter) -> bool:
    """Return whether a first parameter, by its annotation, can only be the module."""
    try:
        _describe_type(parameter.annotation, {"name": parameter.name}, positional=True)
    except SignatureError:
        return True
    return False


def _annotation(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is parameter.empty:
        raise SignatureError(
            f"parameter {parameter.name!r} has no type: write {parameter.name}: str"
        )
    return parameter.annotation


def _describe(name: str, annotation: Any, *, has_default: bool, positional: bool) -> str:
    attributes = {"name": name}
    if has_default or not positional:
        # A descriptor cannot require what is given as ``--name``: ``keywords`` does.
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
    about = f"parameter {attributes['name']!r}: "
    if origin in (list, abc.Sequence) and parts:
        return _describe_type(parts[0], {**attributes, "n": "N"}, positional=positional)
    if origin is tuple and parts:
        if parts.count(parts[0]) != len(parts):
            raise SignatureError(f"{about}all elements in {annotation} should be identical")
        return _describe_type(parts[0], {**attributes, "n": str(len(parts))}, positional=positional)
    if origin is typing.Union:
        if not _is_optional(annotation):
            raise SignatureError(f"{about}Union of {parts}: only Optional can be an argument")
        optional = {"name": attributes["name"], "req": "false", **attributes}
        return _describe_type(parts[0], optional, positional=positional)
    hint = " (written as text: remove `from __future__ import annotations`)"
    why = hint if isinstance(annotation, str) else ""
    raise SignatureError(f"{about}unknown type '{annotation}'{why}")


def _is_optional(annotation: Any) -> bool:
    parts = typing.get_args(annotation)
    return typing.get_origin(annotation) is typing.Union and parts[1:] == (type(None),)


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, enum.Enum)


def _names_parameter(value: Any, arg_spec: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and "=" in value and value.partition("=")[0] in arg_spec
