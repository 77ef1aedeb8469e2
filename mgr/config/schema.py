"""The declarations of options by modules and the manager: type, bounds and default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from mgr.config.option_types import OPTION_TYPES, OptionType, Value, option_type, refuse
from mgr.config.secret import is_secret_name
from mgr.errors import InvalidArgumentError
from mgr.likeness import most_similar
from mgr.text import shortened

LEVELS: Final = ("basic", "advanced", "dev", "unknown")
ADVANCED: Final = 1
RUNTIME_FLAG: Final = 1
MODULE_PREFIX: Final = "mgr/"


@dataclass(frozen=True, kw_only=True)
class OptionSpec:
    """The declaration of one option.

    Attributes:
        name: Full name: ``mgr_tick_period``, or ``mgr/<module>/<option>``.
        type: One of ``OPTION_TYPES``.
        level: Whom the option is meant for: basic, advanced, dev or unknown.
        default: The default as declared; None if there is none.
        min: The lowest valid value as declared; either bound may be given alone.
        max: The highest valid value as declared.
        enum_allowed: For ``str``: the only valid texts, if any are listed.
        runtime: Whether a change takes effect without a restart.
        fixed: Whether the value is fixed when the manager starts and cannot be stored.
        secret: Whether its value is a secret, which listings and logs do not show.
        for_modules: Whether only modules of Ceph read it, and the manager itself does not.
        check: For ``str``: returns the stored form of a text or raises ``InvalidArgumentError``.

    """

    name: str
    type: str = "str"
    level: str = LEVELS[ADVANCED]
    default: Value | None = None
    desc: str = ""
    long_desc: str = ""
    min: Value | None = None
    max: Value | None = None
    enum_allowed: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    see_also: tuple[str, ...] = ()
    runtime: bool = False
    fixed: bool = False
    secret: bool = False
    for_modules: bool = False
    check: Callable[[str], str] | None = None

    @classmethod
    def from_declaration(cls, declaration: Mapping[str, Any], *, module: str = "") -> OptionSpec:
        """Parse an entry of ``MODULE_OPTIONS``; fields of a wrong type are ignored.

        With ``module``, the name becomes ``mgr/<module>/<name>``, as do the names in ``see_also``.

        Raises:
            InvalidArgumentError: The entry has no name.

        """
        name = declaration.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"option without a name: {dict(declaration)!r}")
        prefix = f"{MODULE_PREFIX}{module}/" if module else ""
        kind = declaration.get("type")
        level = declaration.get("level")
        if not isinstance(level, int) or not 0 <= level < len(LEVELS):
            level = ADVANCED
        return cls(
            name=prefix + name,
            type=kind if isinstance(kind, str) and kind in OPTION_TYPES else "str",
            level=LEVELS[level],
            default=_scalar(declaration.get("default")),
            desc=_text(declaration.get("desc")),
            long_desc=_text(declaration.get("long_desc")),
            min=_scalar(declaration.get("min")),
            max=_scalar(declaration.get("max")),
            enum_allowed=_texts(declaration.get("enum_allowed")),
            tags=_texts(declaration.get("tags")),
            see_also=tuple(prefix + other for other in _texts(declaration.get("see_also"))),
            runtime=declaration.get("runtime") is True,
            secret=_secret(declaration, name),
        )

    @property
    def remark(self) -> str:
        """Why setting it changes nothing that an operator sees; empty for most options."""
        if self.fixed:
            return "read only: it follows from a setting of the manager"
        if self.for_modules:
            return "the manager does not use it: modules of Ceph read it"
        dev = self.level == LEVELS[2] and self.name.startswith(MODULE_PREFIX)
        return "for developers" if dev else ""

    @property
    def short_name(self) -> str:
        """The option's name without ``mgr/<module>/``, as the module uses it."""
        return self.name.split("/", 2)[-1]

    @cached_property
    def default_text(self) -> str:
        """The default in its stored form; empty if there is none or it is invalid."""
        if self.default is None:
            return ""
        try:
            return self.normalise(str(self.default))
        except InvalidArgumentError:
            # A module may declare a default outside its own bounds. The module still gets it;
            # operators are shown none.
            return ""

    def normalise(self, text: str) -> str:
        """Check ``text`` and return its stored form.

        Raises:
            InvalidArgumentError: ``text`` is not valid for this option; the message is Ceph's.

        """
        kind = self._option_type
        value = kind.parse(text)
        if kind.ordered:
            self._check_bounds(value)
        if self.type == "str" and self.enum_allowed and text not in self.enum_allowed:
            allowed = ", ".join(self.enum_allowed)
            raise refuse(f"'{text}' is not one of the permitted values: {allowed}")
        return self.check(text) if self.check is not None else kind.text(value)

    def contradiction(self, declared_type: object = None) -> str:
        """Say what of the declaration cannot hold; empty if all of it can."""
        if isinstance(declared_type, str) and declared_type != self.type:
            return f"type {shortened(declared_type, 40)!r} is unknown: it is a {self.type}"
        if not self._option_type.ordered:
            return ""
        for name, declared in (("min", self.min), ("max", self.max)):
            if declared is not None and self._bound(declared) is None:
                text = shortened(repr(declared), 40)
                return f"{name} {text} is no {self.type}: it is ignored"
        low, high = self._bound(self.min), self._bound(self.max)
        if low is not None and high is not None and not float(low) <= float(high):
            return f"no value is allowed: min {self.min!r} is above max {self.max!r}"
        return ""

    def parse(self, text: str) -> Value:
        """Return the value that a module reads where ``text`` is stored.

        Text that was stored by force and is not in its stored form (``4K``) is accepted too.

        Raises:
            ValueError: ``text`` does not fit this option's type.

        """
        kind = self._option_type
        try:
            return kind.read(kind.text(kind.parse(text)))
        except InvalidArgumentError:
            return kind.read(text)

    def describe(self) -> dict[str, Any]:
        """Return the option in the form of ``config help`` and ``get('config_options')``."""
        return {
            "name": self.name,
            "type": self.type,
            "level": self.level,
            "desc": self.desc,
            "long_desc": self.long_desc,
            "default": self.default_text,
            "daemon_default": "",
            "tags": list(self.tags),
            "services": ["mgr"],
            "see_also": list(self.see_also),
            "enum_values": list(self.enum_allowed),
            "min": _shown(self.min),
            "max": _shown(self.max),
            "can_update_at_runtime": self.runtime,
            "flags": [*(["runtime"] if self.runtime else []), *(["secret"] if self.secret else [])],
        }

    def in_map(self) -> dict[str, Any]:
        """Return the option in the form of ``module_options`` in ``mgr_map``; values are text."""
        return {
            "name": self.short_name,
            "type": self.type,
            "level": self.level,
            "flags": RUNTIME_FLAG if self.runtime else 0,
            "default_value": _shown(self.default),
            "min": _shown(self.min),
            "max": _shown(self.max),
            "enum_allowed": list(self.enum_allowed),
            "desc": self.desc,
            "long_desc": self.long_desc,
            "tags": list(self.tags),
            "see_also": list(self.see_also),
        }

    @property
    def _option_type(self) -> OptionType:
        return option_type(self.type)

    def _check_bounds(self, value: Value) -> None:
        low, high = self._bound(self.min), self._bound(self.max)
        shown = self._option_type.text(value)
        # Written as "not (a <= b)" so that NaN is refused: every comparison with it is false.
        if low is not None and not float(low) <= float(value):
            raise refuse(f"Value '{shown}' is below minimum {self._option_type.text(low)}")
        if high is not None and not float(value) <= float(high):
            raise refuse(f"Value '{shown}' exceeds maximum {self._option_type.text(high)}")

    def _bound(self, declared: Value | None) -> Value | None:
        try:
            return None if declared is None else self._option_type.parse(str(declared))
        except InvalidArgumentError:
            return None


class Schemas:
    """All declared options: the manager's own, and those of each module on disk."""

    def __init__(self, manager_options: Iterable[OptionSpec] = ()) -> None:
        """Begin with ``manager_options``, the manager's own options."""
        self._manager_options = {spec.name: spec for spec in manager_options}
        self._modules: dict[str, Mapping[str, OptionSpec]] = {}
        self.version = 0
        """Grows with every change, so that caches of typed values can be discarded."""

    @property
    def manager_options(self) -> Mapping[str, OptionSpec]:
        """The manager's own options, by name."""
        return MappingProxyType(self._manager_options)

    def put(self, module: str, declarations: Iterable[Mapping[str, Any]]) -> None:
        """Replace the options of ``module`` by ``declarations``, its ``MODULE_OPTIONS``.

        Raises:
            InvalidArgumentError: An entry has no name. Nothing was changed.

        """
        specs = [OptionSpec.from_declaration(entry, module=module) for entry in declarations]
        self._modules[module] = MappingProxyType({spec.short_name: spec for spec in specs})
        self.version += 1

    def drop(self, module: str) -> None:
        """Remove the options of ``module``."""
        if self._modules.pop(module, None) is not None:
            self.version += 1

    def of(self, module: str) -> Mapping[str, OptionSpec]:
        """Return the options of ``module`` by short name; empty for an unknown module."""
        return self._modules.get(module, {})

    def find(self, name: str) -> OptionSpec | None:
        """Return the option ``name``, also given localized: ``mgr/<module>/<id>/<option>``."""
        if not name.startswith(MODULE_PREFIX):
            return self._manager_options.get(name)
        module, _, short = name.removeprefix(MODULE_PREFIX).partition("/")
        specs = self.of(module)
        # The middle segment is a manager's id; a manager with that id need not exist.
        return specs.get(short) or specs.get(short.partition("/")[2])

    def names(self) -> list[str]:
        """Return every option's name: the manager's own, then ``mgr/<module>/<option>``."""
        options = [spec.name for specs in self._modules.values() for spec in specs.values()]
        return [*sorted(self._manager_options), *sorted(options)]

    def remarks(self) -> dict[str, str]:
        """Return every option's name, in the order of ``names``, and its ``remark``."""
        found = ((name, self.find(name)) for name in self.names())
        return {name: spec.remark if spec else "" for name, spec in found}

    def nearest(self, name: str) -> str:
        """Return the declared name most similar to ``name``; empty if none is similar."""
        return most_similar(name, self.names()) or ""


def _scalar(value: object) -> Value | None:
    return value if isinstance(value, bool | int | float | str) else None


def _secret(declaration: Mapping[str, Any], name: str) -> bool:
    declared = declaration.get("secret")
    return declared if isinstance(declared, bool) else is_secret_name(name)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(str(entry) for entry in value if isinstance(entry, str | int))


def _shown(value: Value | None) -> str:
    return "" if value is None else str(value)
