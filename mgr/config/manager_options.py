"""The options that belong to no module: the manager's own, and those of Ceph that modules read.

Modules read them with ``get_ceph_option``; any other name is a ``KeyError``, as for an option that
Ceph does not have. The read-only options are fixed when the manager starts and cannot be stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mgr.config.ceph_options import READ_BY_MODULES
from mgr.config.effects import MODULE_EFFECTS, normalised_effects
from mgr.config.isolation import MODULE_ISOLATION, normalised_isolation
from mgr.config.kv import ENTRY_BYTES_CEILING, ENTRY_BYTES_MAX
from mgr.config.module_limits import module_limit_options
from mgr.config.option_types import refuse
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
CERTIFICATE_LIFETIME: Final = "mgr_certificate_lifetime"
CERTIFICATE_WARN: Final = "mgr_certificate_warn"
CERTIFICATE_ERROR: Final = "mgr_certificate_error"
BEACON_GRACE: Final = "mgr_service_beacon_grace"
TERMS_MAX: Final = "mgr_history_max"
COMMAND_SLOW: Final = "mgr_command_slow_after"
AUDIT_RECORDS: Final = "mgr_audit_records_max"
AUDIT_BYTES: Final = "mgr_audit_bytes_max"
AUDIT_REFUSALS: Final = "mgr_audit_refusals_max"

_LOG_LEVEL: Final = re.compile(r"\d{1,2}(/\d{1,2})?", re.ASCII)


def checked_log_level(text: str) -> str:
    """Return ``text`` without outer blanks if it is a log level such as ``4`` or ``4/5``.

    Raises:
        InvalidArgumentError: It is not.

    """
    level = text.strip()
    if not _LOG_LEVEL.fullmatch(level):
        raise refuse(f"'{text}' is no log level: use a number from 0 to 20, such as 4 or 4/5")
    return level


SETTABLE: Final = (
    OptionSpec(
        name="debug_mgr",
        level=LEVELS[2],
        default="4/5",
        desc="Log level of modules that do not set log_level: 0 errors, 1 warnings, 4 info, 20 all",
        long_desc="As in Ceph a second number may follow, as in 4/5; it has no effect here.",
        check=checked_log_level,
        runtime=True,
    ),
    OptionSpec(
        name=COMMAND_SLOW,
        type="float",
        default=10,
        min=0,
        max=86_400,
        desc="Seconds after which health names a command that still runs; 0: never",
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
        desc="Report periods without a report after which a daemon counts as silent",
        runtime=True,
    ),
    OptionSpec(
        name=DAEMON_PRUNE,
        type="secs",
        default=86_400,
        min=60,
        desc="Seconds of silence after which a daemon is removed",
        runtime=True,
    ),
    OptionSpec(
        name=VALUES_MAX,
        type="uint",
        default=10_000_000,
        min=1,
        desc="Most values in one report of each daemon, over the whole fleet; 168 bytes each",
        runtime=True,
    ),
    OptionSpec(
        name=DAEMONS_MAX,
        type="uint",
        default=50_000,
        min=1,
        max=1_000_000,
        desc="Most daemons of the cluster; further ones are refused",
        runtime=True,
    ),
    OptionSpec(
        name=COUNTERS_MAX,
        type="uint",
        default=10_000,
        min=1,
        max=100_000,
        desc="Most counters that one daemon may declare",
        runtime=True,
    ),
    OptionSpec(
        name=CERTIFICATE_LIFETIME,
        type="secs",
        default=90 * 86_400,
        min=20,
        max=3650 * 86_400,
        desc="Seconds for which the cluster's own CA signs certificates; renewed after half of it",
        runtime=True,
    ),
    OptionSpec(
        name=CERTIFICATE_WARN,
        type="secs",
        default=30 * 86_400,
        min=0,
        desc="Seconds before the end of a manager's certificate from which health warns of it",
        long_desc="A certificate that renews itself is warned of at a quarter of its lifetime if "
        "that is later: it should have been renewed at the half.",
        runtime=True,
    ),
    OptionSpec(
        name=CERTIFICATE_ERROR,
        type="secs",
        default=7 * 86_400,
        min=0,
        desc="The same from which health reports an error",
        runtime=True,
    ),
    OptionSpec(
        name=STANDBY_MODULES,
        type="bool",
        default=True,
        desc="Whether standbys run the standby classes of modules",
        runtime=True,
    ),
    OptionSpec(
        name=MODULE_EFFECTS,
        default="",
        desc="Which modules have effects outside etcd, as 'MODULE=EFFECTS ...'",
        long_desc="EFFECTS is external (also outside etcd: such a module starts only when earlier "
        "actives can certainly not act any more), store (through the manager only) or none. It "
        "overrides the module's own declaration, from the module's next start on.",
        runtime=True,
        check=normalised_effects,
    ),
    OptionSpec(
        name=TERMS_MAX,
        type="uint",
        default=1000,
        min=2,
        max=100_000,
        desc="Terms kept in the history of leadership",
        runtime=True,
    ),
    OptionSpec(
        name=AUDIT_RECORDS,
        type="uint",
        default=10_000,
        min=100,
        max=1_000_000,
        desc="Changes kept in the audit; the oldest are deleted",
        runtime=True,
    ),
    OptionSpec(
        name=AUDIT_BYTES,
        type="size",
        default=8 << 20,
        min=1 << 16,
        max=1 << 30,
        desc="Size of all changes kept in the audit",
        long_desc="Every manager holds them in memory.",
        runtime=True,
    ),
    OptionSpec(
        name=AUDIT_REFUSALS,
        type="uint",
        default=1000,
        min=10,
        max=100_000,
        desc="Refusals kept in the audit, one record for each caller in ten minutes",
        runtime=True,
    ),
    OptionSpec(
        name=MODULE_ISOLATION,
        default="",
        desc="Where modules run: 'process' or 'thread', and exceptions as 'MODULE=thread ...'",
        long_desc="In a process of its own a module may crash, hang or leak without harm to the "
        "manager; in threads of the manager's worker calls are a little faster. A change takes "
        "effect for each module when it is constructed next: 'mgr module reload MODULE'.",
        runtime=True,
        check=normalised_isolation,
    ),
    *module_limit_options(),
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
    "mgr_data": "Folder of this manager's own files; Ceph's default if state_dir is empty",
    "mgr_tls_cert": "File with the manager's certificate, for the pages of modules",
    "mgr_tls_key": "File with the key of that certificate",
    "mgr_unprotected": "Listeners open to the network without TLS and client certificates, if any",
    "mon_host": "Address at which clients reach this manager",
    "mgr_module_path": "Folders in which further modules are found",
    "mgr_ceph_conf": "Configuration file of the Ceph cluster that modules work on; empty: none set",
    "mgr_ceph_name": "User of that cluster; empty: mgr.<id>",
    "mgr_ceph_keyring": "File with the key of that user",
    "mon_mgr_beacon_grace": "Seconds until a lost manager is replaced: the length of its lease",
}
"""The read-only options: name and description. Their values are fixed at the start."""


def manager_options(readonly_options: Mapping[str, str]) -> tuple[OptionSpec, ...]:
    """Return every option of the manager; values missing in ``readonly_options`` are empty."""
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
