"""Options of the fleet that operators can change."""

from __future__ import annotations

from dataclasses import dataclass, field

from mgr.cluster.daemon import ReportConfig
from mgr.report_limits import COUNTERS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """Options of the fleet; they may change at any time.

    Attributes:
        grace_periods: Report periods without a report after which a daemon is silent.
        beacon_grace_s: Seconds without a report after which the service map leaves it out.
        prune_s: Seconds of silence after which a daemon is forgotten.
        counters_max: Limit of counters of one daemon.
        values_max: Limit of values in one report of each daemon, over the whole fleet.

    """

    report_config: ReportConfig = field(default_factory=ReportConfig)
    grace_periods: int = 3
    beacon_grace_s: float = 60.0
    prune_s: float = 86_400.0
    daemons_max: int = 50_000
    counters_max: int = COUNTERS_MAX
    values_max: int = 10_000_000

    @property
    def grace_s(self) -> float:
        """``grace_periods`` in seconds."""
        return self.grace_periods * self.report_config.period_s
