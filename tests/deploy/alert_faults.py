"""For each alert of ``deploy/observability``: the series of a fault that must make it fire."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Series in promtool's notation, with one sample every 15 s, and when the alert fires."""

    series: dict[str, str]
    at: str = "10m"


def _two(name: str, values: str, *, labels: str = "") -> dict[str, str]:
    """The series of two managers."""
    return {f'{name}{{job="mgr",instance="{one}"{labels}}}': values for one in ("a", "b")}


def _histogram(name: str, quick: int, slow: int, *, edge: str, labels: str = "") -> dict[str, str]:
    """A histogram that grows by ``quick`` observations up to ``edge`` s a step, ``slow`` above."""
    start = f'{name}_bucket{{job="mgr",instance="a"{labels},le='
    rest = f"0+{quick + slow}x80"
    return {f'{start}"{edge}"}}': f"0+{quick}x80", f'{start}"10"}}': rest, f'{start}"+Inf"}}': rest}


FAULTS: dict[str, Fault] = {
    "MgrNoActive": Fault(_two("mgr_role", "0x80", labels=',mgr_role="active"')),
    "MgrTwoActive": Fault(_two("mgr_role", "1x80", labels=',mgr_role="active"')),
    "MgrLeadershipMoves": Fault(_two("mgr_leader_term", "5x8 6x8 7x8 8x8 9x8 10x40")),
    "MgrNoStandby": Fault(_two("mgr_standbys", "0x80", labels=',state="ready"')),
    "MgrManagerDown": Fault({'up{job="mgr",instance="a"}': "0x80"}),
    "MgrSuspended": Fault({'mgr_role{job="mgr",instance="a",mgr_role="suspended"}': "1x80"}),
    "MgrEtcdSlow": Fault(
        _histogram("mgr_etcd_request_seconds", 90, 10, edge="0.5", labels=',operation="Txn"'), "15m"
    ),
    "MgrEtcdRequestsFail": Fault(
        {
            'mgr_etcd_request_failures_total{job="mgr",instance="a",operation="Txn",'
            'reason="STORE_UNAVAILABLE"}': "0+2x80"
        }
    ),
    "MgrEtcdFull": Fault(
        {
            'mgr_etcd_database_bytes{job="mgr",instance="a"}': "1900x80",
            'mgr_etcd_quota_bytes{job="mgr",instance="a"}': "2000x80",
        }
    ),
    "MgrEtcdEndpointSilent": Fault(_two("mgr_etcd_endpoints_silent", "1x80")),
    "MgrViewOld": Fault({'mgr_mirror_age_seconds{job="mgr",instance="a"}': "15+15x80"}),
    "MgrModuleDown": Fault({'mgr_module_up{job="mgr",instance="a",module="x"}': "0x80"}),
    "MgrModuleRestarts": Fault(
        {'mgr_module_restarts_total{job="mgr",instance="a",module="x"}': "0+1x80"}
    ),
    "MgrModuleBehind": Fault(
        {'mgr_module_notifications_dropped{job="mgr",instance="a",module="x"}': "0x8 5x72"}
    ),
    "MgrCommandsSlow": Fault(_histogram("mgr_command_seconds", 90, 10, edge="2.5"), "15m"),
    "MgrCommandsQueue": Fault({'mgr_commands_queued{job="mgr",instance="a"}': "200x80"}),
    "MgrEventLoopBlocked": Fault(_histogram("mgr_loop_lag_seconds", 90, 10, edge="0.25"), "15m"),
    "MgrClientsRefused": Fault(
        {'mgr_client_limit_reached_total{job="mgr",instance="a",limit="streams"}': "0+50x80"}
    ),
    "MgrDaemonsSilent": Fault({'mgr_daemons{job="mgr",instance="a",state="silent"}': "2x80"}),
    "MgrDaemonsRefused": Fault(
        {'mgr_fleet_refused_total{job="mgr",instance="a",reason="size"}': "0+1x80"}
    ),
}

HEALTHY: dict[str, str] = {
    'up{job="mgr",instance="a"}': "1x80",
    'up{job="mgr",instance="b"}': "1x80",
    'mgr_role{job="mgr",instance="a",mgr_role="active"}': "1x80",
    'mgr_role{job="mgr",instance="b",mgr_role="active"}': "0x80",
    'mgr_role{job="mgr",instance="a",mgr_role="suspended"}': "0x80",
    **_two("mgr_leader_term", "5x20 9x60"),
    **_two("mgr_standbys", "1x80", labels=',state="ready"'),
    **_histogram("mgr_etcd_request_seconds", 100, 0, edge="0.5", labels=',operation="Txn"'),
    'mgr_etcd_request_failures_total{job="mgr",instance="a",operation="Txn",'
    'reason="CONFLICT"}': "0+2x80",
    'mgr_etcd_database_bytes{job="mgr",instance="a"}': "100x80",
    'mgr_etcd_quota_bytes{job="mgr",instance="a"}': "2000x80",
    **_two("mgr_etcd_endpoints_silent", "0x80"),
    **_two("mgr_mirror_age_seconds", "0.2x80"),
    'mgr_module_up{job="mgr",instance="a",module="x"}': "1x80",
    'mgr_module_restarts_total{job="mgr",instance="a",module="x"}': "0x20 1x60",
    'mgr_module_notifications_dropped{job="mgr",instance="a",module="x"}': "5x80",
    **_histogram("mgr_command_seconds", 100, 0, edge="2.5"),
    'mgr_commands_queued{job="mgr",instance="a"}': "3x80",
    **_histogram("mgr_loop_lag_seconds", 100, 0, edge="0.25"),
    'mgr_client_limit_reached_total{job="mgr",instance="a",limit="streams"}': "5x80",
    'mgr_daemons{job="mgr",instance="a",state="silent"}': "0x80",
    'mgr_fleet_refused_total{job="mgr",instance="a",reason="size"}': "3x80",
}
"""Two managers that have had a failover and a restart of a module, and need nobody."""
