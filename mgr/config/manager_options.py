"""The options that are no module's: those of the manager, few, and what Ceph's modules read.

Modules read them with ``get_ceph_option``; whatever is not here is a ``KeyError``, as it would
be for an option that Ceph does not know. The *facts* were decided when the manager started:
they can be read and not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mgr.config.ceph_options import READ_BY_MODULES
from mgr.config.effects import MODULE_EFFECTS, normalised_effects
from mgr.config.kv import ENTRY_BYTES_CEILING, ENTRY_BYTES_MAX
from mgr.config.schema import LEVELS, OptionSpec

ENTRY_LIMIT: Final = "mon_config_key_max_entry_size"
STANDBY_MODULES: Final = "mgr_standby_modules"

STATS_PERIOD: Final = "mgr_stats_period"
STATS_THRESHOLD: Final = "mgr_stats_threshold"
DAEMON_GRACE: Final = "mgr_daemon_grace"
DAEMON_PRUNE: Final = "mgr_daemon_prune"
DAEMONS_MAX: Final = "mgr_daemons_max"
COUNTERS_MAX: Final = "mgr_daemon_counters_max"
VALUES_MAX: Final = "mgr_fleet_values_max"
BEACON_GRACE: Final = "mgr_service_beacon_grace"

SETTABLE: Final = (
    OptionSpec(
        name="debug_mgr",
        level=LEVELS[2],
        default="2/5",
        desc="How much modules log whose own log_level is unset: 0 to 20, level/memory level",
        runtime=True,
    ),
    OptionSpec(
        name="mgr_tick_period",
        type="secs",
        default=2,
        min=1,
        max=60,
        desc="Seconds between two looks of the active manager at what changed slowly",
        runtime=True,
    ),
    OptionSpec(
        name=STATS_PERIOD,
        type="int",
        default=5,
        min=1,
        max=3600,
        level=LEVELS[0],
        desc="Seconds between two reports of a daemon",
        runtime=True,
    ),
    OptionSpec(
        name=STATS_THRESHOLD,
        type="uint",
        default=5,
        max=11,
        desc="Lowest priority of the counters that daemons report",
        runtime=True,
    ),
    OptionSpec(
        name=BEACON_GRACE,
        type="float",
        default=60,
        min=1,
        desc="Seconds after which a daemon that reports nothing is no longer in the service map",
        runtime=True,
    ),
    OptionSpec(
        name=DAEMON_GRACE,
        type="uint",
        default=3,
        min=2,
        max=1000,
        level=LEVELS[0],
        desc="Periods without a report after which a daemon is called silent",
        runtime=True,
    ),
    OptionSpec(
        name=DAEMON_PRUNE,
        type="secs",
        default=86_400,
        min=60,
        desc="Seconds of silence after which a daemon is forgotten",
        runtime=True,
    ),
    OptionSpec(
        name=VALUES_MAX,
        type="uint",
        default=10_000_000,
        min=1,
        desc="Values in one report of each daemon, over the whole fleet; each takes 168 bytes",
        runtime=True,
    ),
    OptionSpec(
        name=DAEMONS_MAX,
        type="uint",
        default=50_000,
        min=1,
        max=1_000_000,
        desc="Daemons that may be known; one more is refused",
        runtime=True,
    ),
    OptionSpec(
        name=COUNTERS_MAX,
        type="uint",
        default=10_000,
        min=1,
        max=100_000,
        desc="Counters that one daemon may declare",
        runtime=True,
    ),
    OptionSpec(
        name="mgr_pool",
        type="bool",
        default=True,
        desc="Whether modules may have a database of their own",
        runtime=True,
    ),
    OptionSpec(
        name=STANDBY_MODULES,
        type="bool",
        default=True,
        desc="Whether standbys run the standby halves of modules",
        runtime=True,
    ),
    OptionSpec(
        name=MODULE_EFFECTS,
        default="",
        desc="Which modules act outside the store, as 'MODULE=EFFECTS ...'",
        long_desc="EFFECTS is external (also elsewhere: such a module waits until earlier actives "
        "certainly act no more), store (through the manager only) or none. It counts before what "
        "a module says of itself, from the module's next start on.",
        runtime=True,
        check=normalised_effects,
    ),
    OptionSpec(
        name=ENTRY_LIMIT,
        type="size",
        default=ENTRY_BYTES_MAX,
        min=1024,
        max=ENTRY_BYTES_CEILING,
        desc="Largest value of the key/value store, in bytes",
        runtime=True,
    ),
)

READONLY_OPTIONS: Final[Mapping[str, str]] = {
    "cluster": "Name of the cluster",
    "name": "Name of this manager, as mgr.<id>",
    "host": "Name of the host this manager runs on",
    "fsid": "Identifier of the cluster",
    "log_file": "File that this manager logs to; empty: standard error",
    "mgr_module_path": "Folders that further modules are found in",
    "mon_mgr_beacon_grace": "Seconds after which a manager that vanished is replaced: its lease",
}
"""What is decided at the start, and what it means."""


def manager_options(readonly_options: Mapping[str, str]) -> tuple[OptionSpec, ...]:
    """Every option of the manager; a value missing in ``readonly_options`` is empty."""
    fixed = (
        OptionSpec(
            name=name,
            level=LEVELS[1],
            default=readonly_options.get(name, ""),
            desc=desc,
            fixed=True,
        )
        for name, desc in READONLY_OPTIONS.items()
    )
    return (*SETTABLE, *READ_BY_MODULES, *fixed)
