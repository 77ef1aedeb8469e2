"""Whether a module acts outside the store: who says so, and whose word counts.

What the operator says (``mgr_module_effects``) counts before what the module's own class says,
that before the table of Ceph's packaged modules, which know nothing of the question. Of a module
that nobody says anything of it is assumed.
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
"""The folders that Ceph's packages put modules into: a module of the same name that stands
elsewhere may be anybody's."""

PACKAGED: Final[Mapping[str, Effects]] = {
    **dict.fromkeys(
        # These read what the manager knows, and print or serve it.
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
            # They send what they know to somebody.
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
            # They do what any client asks of them.
            *("dashboard", "restful", "selftest"),
        ),
        Effects.EXTERNAL,
    ),
}
"""What Ceph's own modules do, by name; where it is not certain, ``EXTERNAL``."""

log = logging.getLogger(__name__)


class EffectsSource(Enum):
    """Who says it."""

    OPERATOR = "operator"
    MODULE = "module"
    TABLE = "table"
    NOBODY = "nobody"


class Classification(NamedTuple):
    """Where a module acts, and who says so."""

    effects: Effects
    source: EffectsSource

    @property
    def external(self) -> bool:
        """It may act outside the store."""
        return self.effects is Effects.EXTERNAL


def declared_effects(active: type[MgrModule]) -> Effects | None:
    """Return what the class itself says, None if it says nothing."""
    for each in active.__mro__:
        if each is MgrModule:
            return None
        if ATTRIBUTE in vars(each):
            return _parse_effects(active, vars(each)[ATTRIBUTE])
    return None


def classify(
    name: str, place: str, class_effects: Effects | None, operator_effects: Mapping[str, Effects]
) -> Classification:
    """Say where a module acts.

    Args:
        name: What operators call it.
        place: Its ``module.py``.
        class_effects: What its class says.
        operator_effects: What the operator says, by name.

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
        log.warning("EFFECTS is none of external, store, none: external is assumed", extra=fields)
        return Effects.EXTERNAL
