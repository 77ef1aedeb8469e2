"""Decides whether a module acts outside the store.

Four sources, in this order: the operator's option ``mgr_module_effects``; the attribute
``EFFECTS`` of the module's class; the table of Ceph's packaged modules, which have no such
attribute; otherwise ``external`` is assumed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from mgr.config.effects import Effects
from mgr.module_api.module import MgrModule

ATTRIBUTE: Final = "EFFECTS"
PACKAGED_IN: Final = ("ceph", "mgr")
"""The folders that Ceph's packages put modules into: a module of the same name in another folder
may be a different one."""

PACKAGED: Final[Mapping[str, Effects]] = {
    **dict.fromkeys(
        # These read the manager's data, and print or serve it.
        ("hello", "iostat", "status"),
        Effects.NONE,
    ),
    **dict.fromkeys(
        (
            # Entries of their own, an address, events: nothing but this interface.
            *("crash", "insights", "progress", "prometheus"),
            # Commands to the monitors, which the active itself executes and records here.
            *("balancer", "localpool", "osd_support", "pg_autoscaler"),
        ),
        Effects.STORE,
    ),
    **dict.fromkeys(
        (
            # They send data to other services.
            *("alerts", "diskprediction_cloud", "feedback", "influx", "telegraf", "telemetry"),
            "zabbix",
            # They change hosts and containers.
            *("cephadm", "k8sevents", "mds_autoscaler", "nvmeof", "rook", "test_orchestrator"),
            # A call between modules runs on the caller's thread: with a back end that acts outside,
            # so do these.
            *("diskprediction_local", "orchestrator"),
            # They change file systems, images and pools, or the daemons themselves.
            *("devicehealth", "mirroring", "nfs", "osd_perf_query", "rbd_support", "rgw", "smb"),
            *("snap_schedule", "stats", "volumes"),
            # They do whatever a client requests.
            *("cli_api", "dashboard", "restful", "selftest"),
        ),
        Effects.EXTERNAL,
    ),
}
"""The effects of Ceph's own modules by name; ``EXTERNAL`` where it is not certain."""

log = logging.getLogger(__name__)


class EffectsSource(Enum):
    """Where a module's classification comes from."""

    OPERATOR = "operator"
    MODULE = "module"
    TABLE = "table"
    NOBODY = "nobody"


class Classification(NamedTuple):
    """Where a module acts, and the source of that."""

    effects: Effects
    source: EffectsSource

    @property
    def external(self) -> bool:
        """Whether it may act outside the store."""
        return self.effects is Effects.EXTERNAL


def declared_effects(active: type[MgrModule]) -> Effects | None:
    """Return the effects that the class declares, None if it declares none."""
    for each in active.__mro__:
        if each is MgrModule:
            return None
        if ATTRIBUTE in vars(each):
            return _parse_effects(active, vars(each)[ATTRIBUTE])
    return None


def classify(
    name: str, place: str, class_effects: Effects | None, operator_effects: Mapping[str, Effects]
) -> Classification:
    """Decide where a module acts.

    Args:
        name: Its name.
        place: Path of its ``module.py``.
        class_effects: What its class declares.
        operator_effects: What the operator set, by module name.

    """
    if name in operator_effects:
        return Classification(operator_effects[name], EffectsSource.OPERATOR)
    if class_effects is not None:
        return Classification(class_effects, EffectsSource.MODULE)
    if name in PACKAGED and Path(place).parent.parent.parts[-2:] == PACKAGED_IN:
        return Classification(PACKAGED[name], EffectsSource.TABLE)
    return Classification(Effects.EXTERNAL, EffectsSource.NOBODY)


def _parse_effects(active: type[MgrModule], value: Any) -> Effects:
    try:
        return Effects(value)
    except ValueError:
        fields = {"class_name": active.__qualname__, "effects": repr(value)}
        log.warning(
            "module's EFFECTS is not external, store or none: external is assumed", extra=fields
        )
        return Effects.EXTERNAL
