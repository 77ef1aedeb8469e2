"""Deaths of workers, and the modules that are quarantined because workers died of them.

A module whose code killed ``DEATHS_MAX`` workers within ``DEATHS_WITHIN_S``, on whichever
managers, is *quarantined*: it is not imported, constructed or served anywhere until an operator
releases it (docs/adr/0042). Guards write these records, since they outlive their workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from mgr.store.api import UNREADABLE, Delete, DeletePrefix, Operation, Put, Reader, Record
from mgr.store.keys import Keys

DEATHS_MAX: Final = 3
DEATHS_WITHIN_S: Final = 600
"""A death is forgotten after this long; its lease sees to it, no clock is compared."""
CRASHES_MAX: Final = 8
"""Reports of one manager that wait for an active to collect them; the oldest give way."""
REPORT_BYTES_MAX: Final = 32 << 10
BY_HAND: Final = "quarantined by hand"


class ModuleDeath(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``module_deaths/<module>/<id>``: a worker that died of this module.

    Attributes:
        manager: Whose worker it was.
        how: The signal's name, or the exit status, or ``watchdog``.
        during: What the module was doing, in words.
        at: When, as ISO 8601, for people.

    """

    manager: str
    how: str
    during: str
    at: str


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``quarantine/<module>``: the module is quarantined everywhere.

    Attributes:
        since: When that began, as ISO 8601.
        deaths: Of which deaths; none if an operator wanted it.

    """

    since: str
    deaths: tuple[ModuleDeath, ...] = ()


def encode(record: ModuleDeath | Quarantine) -> str:
    """Return the record's value."""
    return msgspec.json.encode(record).decode()


def decode_deaths(records: Iterable[Record]) -> list[ModuleDeath]:
    """Read the deaths of one module, the earliest first; one that cannot be read is left out."""
    found = []
    for record in records:
        try:
            found.append(msgspec.json.decode(record.value, type=ModuleDeath))
        except UNREADABLE:
            continue
    return sorted(found, key=lambda death: death.at)


def quarantine_reason(view: Reader, keys: Keys, module: str) -> str:
    """Return why ``module`` must not run on any manager; empty if it may.

    It is quarantined from its last death on, also before a guard has written the quarantine.
    """
    record = view.get(keys.quarantine(module))
    if record is not None:
        return _reason(module, record)
    deaths = decode_deaths(view.list(keys.deaths_of(module)).values())
    return deaths_text(module, deaths) if len(deaths) >= DEATHS_MAX else ""


def quarantine_reasons(view: Reader, keys: Keys) -> dict[str, str]:
    """Return every module that must not run, and why."""
    names = {key.removeprefix(keys.quarantines) for key in view.list(keys.quarantines)}
    names |= {
        key.removeprefix(keys.module_deaths).partition("/")[0]
        for key in view.list(keys.module_deaths)
    }
    return {name: why for name in sorted(names) if (why := quarantine_reason(view, keys, name))}


def deaths_text(module: str, deaths: Sequence[ModuleDeath]) -> str:
    """Return the text that lists the deaths of quarantined ``module``, and how to release it."""
    last = deaths[-1]
    signals = " and ".join(sorted({death.how for death in deaths}))
    return (
        f"quarantined: killed {len(deaths)} workers by {signals} {last.during} "
        f"(last: manager {last.manager}, {last.at}); {_release(module)}"
    )


def quarantine_operation(keys: Keys, module: str, quarantine: Quarantine) -> Operation:
    """Return the write that holds ``module`` back."""
    return Put(keys.quarantine(module), encode(quarantine))


def release_operations(keys: Keys, module: str) -> list[Operation]:
    """Return the writes that let ``module`` run again: its deaths are forgotten."""
    return [Delete(keys.quarantine(module)), DeletePrefix(keys.deaths_of(module))]


def _release(module: str) -> str:
    return f"release it with `mgrctl mgr module release {module}`"


def _reason(module: str, record: Record) -> str:
    try:
        quarantine = msgspec.json.decode(record.value, type=Quarantine)
    except UNREADABLE:
        return f"quarantined; {_release(module)}"
    if not quarantine.deaths:
        return f"{BY_HAND} since {quarantine.since}; {_release(module)}"
    return deaths_text(module, quarantine.deaths)
