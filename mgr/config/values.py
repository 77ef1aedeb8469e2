"""The stored options by section, and the values that take effect for this manager.

The most specific section wins: ``global`` < ``mgr`` < ``mgr.<id>``, and likewise for every other
type of daemon. An empty text stands for the default: it hides less specific values. Removing a
stored value takes effect at once, for every manager.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mgr.config.kv import checked_key, checked_value
from mgr.config.manager_options import CERTIFICATE_LIFETIME
from mgr.config.option_types import Value
from mgr.config.schema import MODULE_PREFIX, OptionSpec, Schemas
from mgr.config.secret import MASK, is_secret_name
from mgr.errors import InvalidArgumentError
from mgr.store.api import Put, Record
from mgr.store.keys import Keys

GLOBAL: Final = "global"
OURS: Final = "mgr"
TARGET: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_.:-]*)?")
TYPE_ORDER: Final = (GLOBAL, "mon", OURS, "osd", "mds", "client")
"""The order in which sections are listed; other types follow in alphabetical order."""

_UNREAD: Final = object()

log = logging.getLogger(__name__)


class StoredOption(NamedTuple):
    """One stored option."""

    section: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The stored options at one moment. Replaced as a whole, so threads read it without a lock."""

    sections: Mapping[str, Mapping[str, str]]
    effective: Mapping[str, str]
    schemas_version: int
    typed: dict[tuple[str, str, bool], Value | None] = field(default_factory=dict)


class ConfigValues:
    """Every stored option of the cluster. Loaded on the event loop; any thread may read it."""

    def __init__(self, manager_id: str, schemas: Schemas, keys: Keys) -> None:
        """Return the values that take effect for the manager ``manager_id``."""
        self._manager_id = manager_id
        self._keys = keys
        self.schemas = schemas
        self._now = _Snapshot({}, {}, schemas.version)
        self._listeners: list[Callable[[frozenset[str]], None]] = []

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Call ``listener`` on the loop after each change, with the names of changed options.

        The names are those of options that were stored or removed in any section. The new values
        are loaded by then. ``listener`` must not wait.
        """
        self._listeners.append(listener)

    def reload(self, records: Mapping[str, Record], changed_keys: Iterable[str]) -> None:
        """Load ``records`` and then report the change of ``changed_keys`` to every listener."""
        self.load(records)
        prefix = self._keys.config
        names = frozenset(key.removeprefix(prefix).partition("/")[2] for key in changed_keys)
        for listener in self._listeners:
            try:
                listener(names)
            except Exception:
                # One listener that fails on a stored value must not keep it from the others.
                log.exception("a changed option could not be acted on", extra={"options": names})

    @property
    def effective_values(self) -> Mapping[str, str]:
        """The stored values that take effect for this manager, by full name. Immutable."""
        return self._now.effective

    def load(self, records: Mapping[str, Record]) -> frozenset[str]:
        """Replace everything by ``records``, which are all under ``keys.config``.

        Returns the names of the options whose value changed for this manager; removed ones too.
        """
        sections: dict[str, dict[str, str]] = {}
        for key, record in records.items():
            section, _, name = key.removeprefix(self._keys.config).partition("/")
            sections.setdefault(section, {})[name] = record.value
        chain = sections_of(f"{OURS}.{self._manager_id}")
        effective = {name: option.value for name, option in _merged(sections, chain).items()}
        before = self._now.effective
        self._now = _Snapshot(sections, effective, self.schemas.version)
        return frozenset(
            name
            for name in before.keys() | effective.keys()
            if before.get(name, "") != effective.get(name, "")
        )

    def effective(self, name: str) -> str | None:
        """Return the stored text that takes effect for this manager; None for the default."""
        return self._now.effective.get(name) or None

    def typed(self, module: str, name: str, *, localized: bool = False) -> Value | None:
        """Return the stored value of ``mgr/<module>/<name>``, in the type ``module`` declared.

        None if nothing is stored or no option of that name is declared. With ``localized``,
        ``mgr/<module>/<manager id>/<name>`` is preferred.

        Raises:
            ValueError: The stored text does not fit the declared type.

        """
        now = self._now
        if now.schemas_version != self.schemas.version:
            now = self._now = _Snapshot(now.sections, now.effective, self.schemas.version)
        key = (module, name, localized)
        # Two threads at once may compute the same value twice, which does no harm.
        known = now.typed.get(key, _UNREAD)
        if known is _UNREAD:
            known = now.typed[key] = self._read(now, module, name, localized=localized)
        return known  # type: ignore[return-value]  # _UNREAD was replaced

    def manager_option(self, name: str) -> Value | None:
        """Return one of the manager's own options, typed; its default where nothing is stored.

        Raises:
            KeyError: The manager has no such option.

        """
        spec = self.schemas.manager_options.get(name)
        if spec is None:
            raise KeyError(f"option not found: {name}")
        text = self.effective(name) or spec.default_text
        return spec.parse(text) if text or spec.type == "str" else None

    def number(self, name: str) -> float:
        """Return one of the manager's own numeric options; its default if the text is invalid."""
        try:
            value = self.manager_option(name)
        except ValueError:
            # Stored with --force and unreadable, which health reports.
            value = self.schemas.manager_options[name].default
        return float(value or 0)

    def certificate_lifetime_s(self) -> float:
        """Return for how long certificates that are signed now are valid, in seconds."""
        return float(str(self.manager_option(CERTIFICATE_LIFETIME)))

    def manager_option_of(self, who: str, name: str) -> Value | None:
        """Return the value of ``manager_option`` that takes effect for ``who``, such as ``mgr.b``.

        Raises:
            KeyError: The manager has no such option, or ``who`` is not a valid section.

        """
        spec = self.schemas.manager_options.get(name)
        if spec is None:
            raise KeyError(f"option not found: {name}")
        try:
            seen = self.entity(who).get(name)
        except InvalidArgumentError:
            raise KeyError(f"invalid entity: {who}") from None
        text = seen.value if seen else spec.default_text
        return spec.parse(text) if text or spec.type == "str" else None

    def entity(self, who: str) -> dict[str, StoredOption]:
        """Return what takes effect for ``who`` (``mgr``, ``mgr.a``, ``osd.3``), by option.

        Raises:
            InvalidArgumentError: ``who`` is not a valid section.

        """
        chain = sections_of(who)
        return dict(sorted(_merged(self._now.sections, chain).items()))

    def stored(self, section: str, name: str) -> str | None:
        """Return the text stored in exactly this section; None if there is none."""
        return self._now.sections.get(section, {}).get(name)

    def dump(self) -> list[StoredOption]:
        """Return every stored option: ``global``, then by type, each type before its ids."""
        return [
            StoredOption(section, name, value)
            for section, options in sorted(self._now.sections.items(), key=_section_rank)
            for name, value in sorted(options.items())
        ]

    def is_secret(self, name: str) -> bool:
        """Return whether the value of the option ``name`` is a secret."""
        spec = self.schemas.find(name)
        return is_secret_name(name) if spec is None else spec.secret

    def shown(self, name: str, value: str) -> str:
        """Return ``value`` of the option ``name`` as listings, logs and errors may show it."""
        return MASK if value and self.is_secret(name) else value

    def invalid_values(self) -> list[tuple[StoredOption, str]]:
        """Return each stored option whose value does not fit its declaration, and the reason.

        It was stored by force, or was valid in an earlier version of its module. Options that
        nothing on this host declares are left out, since nothing reads them.
        """
        return [(option, why) for option in self.dump() if (why := self._invalid_reason(option))]

    def prepare(
        self,
        who: str,
        name: str,
        value: str,
        *,
        force: bool = False,
        known_types: Collection[str] = (),
    ) -> Put:
        """Check and normalise ``value``; return the write that stores it for ``who``.

        With ``force``, an unknown option, an unknown type of daemon or an invalid value is stored
        as given. ``known_types`` are the types of daemons that exist beside those of Ceph.

        Raises:
            InvalidArgumentError: The option, target or value is invalid; the message says which.

        """
        kind = sections_of(who)[-1].partition(".")[0]
        if not force and kind not in {*TYPE_ORDER, *known_types}:
            # Nothing would ever read the value, and the typing mistake would go unnoticed.
            raise InvalidArgumentError(f"{_unknown(who)}; --force stores it all the same")
        spec = self.schemas.find(name)
        if spec is not None and spec.fixed:
            raise InvalidArgumentError(f"{name} is special and cannot be stored by the mon")
        checked_value(value)  # before it is parsed
        if not force:
            value = _normalised(self._checked(who, name, spec), value)
        return Put(self._keys.option(who, checked_key(name)), checked_value(value))

    def _checked(self, who: str, name: str, spec: OptionSpec | None) -> OptionSpec:
        if spec is None:
            raise InvalidArgumentError(f"unrecognized config option '{name}'{self._hint(name)}")
        ours = who in {GLOBAL, OURS} or who.startswith(f"{OURS}.")
        if name.startswith(MODULE_PREFIX) and not ours:
            # Only managers read module options; in another section nothing would read the value.
            raise InvalidArgumentError(
                f"unrecognized config target '{who}': options of modules are read from "
                f"{GLOBAL}, {OURS} and {OURS}.<id>"
            )
        return spec

    def _invalid_reason(self, option: StoredOption) -> str:
        spec = self.schemas.find(option.name)
        if spec is None or not option.value:
            return ""
        try:
            spec.normalise(option.value)
        except InvalidArgumentError as error:
            return f"the value is no valid {spec.type}" if spec.secret else str(error)
        return ""

    def _hint(self, name: str) -> str:
        nearest = self.schemas.nearest(name)
        return f"; did you mean '{nearest}'?" if nearest else ""

    def _read(self, now: _Snapshot, module: str, name: str, *, localized: bool) -> Value | None:
        spec = self.schemas.of(module).get(name)
        if spec is None and "/" in name:
            # ``<manager id>/<option>``: the value of another manager alone.
            spec = self.schemas.find(f"{MODULE_PREFIX}{module}/{name}")
        if spec is None:
            return None
        text = ""
        if localized:
            text = now.effective.get(f"{MODULE_PREFIX}{module}/{self._manager_id}/{name}", "")
        text = text or now.effective.get(f"{MODULE_PREFIX}{module}/{name}", "")
        return spec.parse(text) if text else None


def sections_of(who: str) -> tuple[str, ...]:
    """Return the sections that take effect for ``who``, least specific first.

    Raises:
        InvalidArgumentError: ``who`` is neither ``global`` nor a type nor ``<type>.<id>``.

    """
    if not TARGET.fullmatch(who):
        raise InvalidArgumentError(_unknown(who))
    kind, dot, _ = who.partition(".")
    if kind == GLOBAL:
        if dot:
            raise InvalidArgumentError(_unknown(who))
        return (GLOBAL,)
    return (GLOBAL, kind, who) if dot else (GLOBAL, kind)


def _unknown(who: str) -> str:
    return (
        f"unrecognized config target '{who}': use {GLOBAL}, {OURS}, {OURS}.<id>, or <type> or "
        "<type>.<id> of daemons that have joined"
    )


def _normalised(spec: OptionSpec, value: str) -> str:
    try:
        return spec.normalise(value)
    except InvalidArgumentError as error:
        if spec.secret:
            # The texts of most types repeat the value.
            raise InvalidArgumentError(
                f"error parsing value: no valid {spec.type} (option {spec.name})"
            ) from None
        # Appended, because scripts match on the beginning, which is Ceph's text.
        raise InvalidArgumentError(f"{error} (option {spec.name})") from None


def _merged(
    sections: Mapping[str, Mapping[str, str]], chain: tuple[str, ...]
) -> dict[str, StoredOption]:
    return {
        name: StoredOption(section, name, value)
        for section in chain
        for name, value in sections.get(section, {}).items()
    }


def _section_rank(item: tuple[str, Any]) -> tuple[int, str, str]:
    kind, _, identity = item[0].partition(".")
    rank = TYPE_ORDER.index(kind) if kind in TYPE_ORDER else len(TYPE_ORDER)
    return rank, kind, identity
