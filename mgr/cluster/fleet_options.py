"""What operators can change of how a fleet is looked after."""

from __future__ import annotations

from dataclasses import dataclass, field

from mgr.cluster.daemon import ReportConfig
from mgr.report_limits import COUNTERS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """What operators can change, at any time.

    Attributes:
        grace_periods: Periods without a report after which a daemon is silent.
        beacon_grace_s: Seconds without one after which it is no longer in the service map.
        prune_s: Seconds of silence after which it is forgotten.
        counters_max: Of one daemon.
        values_max: Values in one report of each daemon, over the whole fleet.

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
        """The same in seconds."""
        return self.grace_periods * self.report_config.period_s
