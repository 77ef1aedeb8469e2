"""The map of OSDs and pools. Without Ceph it is empty, and its methods work all the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mgr.module_api.ceph.crush_map import CRUSHMap

ERASURE_CODED: Final = 3
"""The type of a pool that stores each object in parts, with parts to repair it."""
EMPTY: Final[Mapping[str, Any]] = {"epoch": 0, "pools": [], "osds": []}


class OSDMapIncremental:
    """A change of an ``OSDMap``. It is never sent to a cluster."""

    def __init__(self, epoch: int = 0) -> None:
        self._epoch = epoch
        self._weights: dict[str, dict[int, float]] = {}

    def get_epoch(self) -> int:
        """Return the epoch of the map after the change."""
        return self._epoch

    def dump(self) -> dict[str, Any]:
        """Return the changes."""
        return {"epoch": self._epoch, **copy.deepcopy(self._weights)}

    def set_osd_reweights(self, weightmap: Mapping[int, float]) -> None:
        """Set weights by number of the OSD."""
        self._weights["new_weight"] = dict(weightmap)

    def set_crush_compat_weight_set_weights(self, weightmap: Mapping[int, float]) -> None:
        """Set weights of the compatible weight set, by number of the OSD."""
        self._weights["crush_compat_weights"] = dict(weightmap)


class OSDMap:
    """A map of OSDs and pools. It does not compute where placement groups are.

    It knows where they are if ``placed`` says so. A map that a change was applied to knows no
    more than the one before.
    """

    def __init__(
        self,
        dump: Mapping[str, Any] | None = None,
        crush: Mapping[str, Any] | None = None,
        placed: Callable[[], Iterable[Mapping[str, Any]]] = tuple,
    ) -> None:
        """Use the documents ``osd_map`` and ``osd_map_crush``; empty by default.

        ``placed`` returns the list in the document ``pg_stats``.
        """
        self._dump: dict[str, Any] = copy.deepcopy(dict(dump or EMPTY))
        self._crush = CRUSHMap(crush)
        self._placed = placed

    @classmethod
    def build_simple(cls, epoch: int = 1, uuid: str | None = None, num_osd: int = -1) -> OSDMap:
        """Make a map of ``num_osd`` OSDs, all up and in, without a pool."""
        osds = [{"osd": number, "up": 1, "in": 1, "weight": 1.0} for number in range(num_osd)]
        return cls({"epoch": epoch, "fsid": uuid or "", "pools": [], "osds": osds})

    def get_epoch(self) -> int:
        """Return the version of the map."""
        return int(self._dump["epoch"])

    def get_crush_version(self) -> int:
        """Return the version of its CRUSH map."""
        return int(self._dump.get("crush_version", 0))

    def dump(self) -> dict[str, Any]:
        """Return a copy of the whole map."""
        return copy.deepcopy(self._dump)

    def get_pools(self) -> dict[int, dict[str, Any]]:
        """Return the pools by number."""
        return {pool["pool"]: pool for pool in self.dump()["pools"]}

    def get_pools_by_name(self) -> dict[str, dict[str, Any]]:
        """Return the pools by name."""
        return {pool["pool_name"]: pool for pool in self.dump()["pools"]}

    def get_crush(self) -> CRUSHMap:
        """Return its CRUSH map."""
        return self._crush

    def new_incremental(self) -> OSDMapIncremental:
        """Return an empty change for the next epoch."""
        return OSDMapIncremental(self.get_epoch() + 1)

    def apply_incremental(self, inc: OSDMapIncremental) -> OSDMap:
        """Return a copy of the map with ``inc`` applied."""
        changed = self.dump()
        weights = inc.dump().get("new_weight", {})
        for osd in changed["osds"]:
            osd["weight"] = weights.get(osd["osd"], osd.get("weight", 1.0))
        return OSDMap({**changed, "epoch": inc.get_epoch()}, self._crush.dump(), self._placed)

    def get_pools_by_take(self, take: int) -> list[int]:
        """Return the pools whose rule begins at a bucket."""
        rules = {
            rule["rule_id"]
            for rule in self._crush.dump()["rules"]
            if any(step["op"] == "take" and step["item"] == take for step in rule["steps"])
        }
        return [pool["pool"] for pool in self._dump["pools"] if pool.get("crush_rule") in rules]

    def calc_pg_upmaps(
        self,
        inc: OSDMapIncremental,  # noqa: ARG002 - nothing is placed
        max_deviation: int,  # noqa: ARG002 - as above
        max_iterations: int = 10,  # noqa: ARG002 - as above
        pools: list[str] | None = None,  # noqa: ARG002 - as above
    ) -> int:
        """Return how many placement groups ``inc`` would move for balance: always 0."""
        return 0

    def balance_primaries(self, pool_id: int, inc: OSDMapIncremental) -> int:  # noqa: ARG002 - nothing is placed
        """Return how many primaries ``inc`` would move for balance: always 0."""
        return 0

    def map_pool_pgs_up(self, poolid: int) -> dict[str, list[int]]:
        """Return the OSDs of each placement group of a pool; empty if none is known."""
        pool = f"{poolid}."
        return {pg["pgid"]: list(pg["up"]) for pg in self._placed() if pg["pgid"].startswith(pool)}

    def pg_to_up_acting_osds(self, pool_id: int, ps: int) -> dict[str, Any]:
        """Return the OSDs of one placement group; empty if it is not known."""
        for pg in self._placed():
            if pg["pgid"] == f"{pool_id}.{ps:x}":
                return {
                    "up": list(pg["up"]),
                    "acting": list(pg["acting"]),
                    "up_primary": pg["up_primary"],
                    "acting_primary": pg["acting_primary"],
                }
        return {"up": [], "acting": [], "up_primary": -1, "acting_primary": -1}

    def pool_raw_used_rate(self, pool_id: int) -> float:
        """Return how many bytes a pool stores for each byte; 0 if there is no such pool."""
        pool = self.get_pools().get(pool_id, {})
        profile = self.get_ec_profile(pool.get("erasure_code_profile", "")) or {}
        if pool.get("type") == ERASURE_CODED and "k" in profile:
            data = int(profile["k"])
            return (data + int(profile.get("m", 0))) / data
        return float(pool.get("size", 0))

    def get_ec_profile(self, name: str) -> dict[str, str] | None:
        """Return an erasure code profile; None if there is none of this name."""
        profile: dict[str, str] | None = self.dump().get("erasure_code_profiles", {}).get(name)
        return profile

    def get_require_osd_release(self) -> str:
        """Return the oldest release that OSDs may have; empty if it is not set."""
        return str(self._dump.get("require_osd_release", ""))
