"""The CRUSH map (the hierarchy by which Ceph places data), read from its dump."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

EMPTY: Final[Mapping[str, Any]] = {
    "devices": [],
    "types": [],
    "buckets": [],
    "rules": [],
    "tunables": {},
    "choose_args": {},
}
WEIGHT_UNIT: Final = 0x10000
"""A dump contains weights as whole numbers: this one stands for 1.0."""


class CRUSHMap:
    """A CRUSH map: buckets, devices and rules."""

    ITEM_NONE = 0x7FFFFFFF
    DEFAULT_CHOOSE_ARGS = "-1"

    def __init__(self, dump: Mapping[str, Any] | None = None) -> None:
        """Use ``dump``, as ``get("osd_map_crush")`` returns it; empty by default."""
        self._dump: dict[str, Any] = {**copy.deepcopy(EMPTY), **copy.deepcopy(dict(dump or {}))}

    def dump(self) -> dict[str, Any]:
        """Return a copy of the whole map."""
        return copy.deepcopy(self._dump)

    def get_item_weight(self, item: int) -> float | None:
        """Return the weight of a bucket or device; None if there is none of this number."""
        bucket = self._bucket(item)
        if bucket is not None:
            return float(bucket["weight"]) / WEIGHT_UNIT
        return next((weight for number, weight in self._placed() if number == item), None)

    def get_item_name(self, item: int) -> str | None:
        """Return the name of a bucket or device; None if there is none of this number."""
        for each in (*self._dump["buckets"], *self._dump["devices"]):
            if each["id"] == item:
                return str(each["name"])
        return None

    def find_takes(self) -> list[int]:
        """Return the buckets at which a rule begins."""
        return sorted({step["item"] for _, step in self._takes()})

    def find_roots(self) -> list[int]:
        """Return the buckets that are in no other bucket."""
        inside = {item["id"] for bucket in self._dump["buckets"] for item in bucket["items"]}
        return [bucket["id"] for bucket in self._dump["buckets"] if bucket["id"] not in inside]

    def get_take_weight_osd_map(self, root: int) -> dict[int, float]:
        """Return the share of each OSD below ``root`` in its weight; the sum is 1."""
        below = dict(self._below(root))
        total = sum(below.values())
        return {osd: weight / total for osd, weight in below.items()} if total else {}

    @staticmethod
    def have_default_choose_args(dump: Mapping[str, Any]) -> bool:
        """Return whether ``dump`` has weights that replace its own for every pool."""
        return CRUSHMap.DEFAULT_CHOOSE_ARGS in dump.get("choose_args", {})

    @staticmethod
    def get_default_choose_args(dump: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the weights that replace those of ``dump`` for every pool."""
        found: list[dict[str, Any]] = dump.get("choose_args", {}).get(
            CRUSHMap.DEFAULT_CHOOSE_ARGS, []
        )
        return found

    def get_rule(self, rule_name: str) -> dict[str, Any] | None:
        """Return a rule by its name."""
        return next((r for r in self.dump()["rules"] if r["rule_name"] == rule_name), None)

    def get_rule_by_id(self, rule_id: int) -> dict[str, Any] | None:
        """Return a rule by its number."""
        return next((r for r in self.dump()["rules"] if r["rule_id"] == rule_id), None)

    def get_rule_root(self, rule_name: str) -> int | None:
        """Return the bucket at which a rule begins."""
        return next((s["item"] for r, s in self._takes() if r["rule_name"] == rule_name), None)

    def get_osds_under(self, root_id: int) -> list[int]:
        """Return the OSDs below a bucket."""
        return sorted({osd for osd, _ in self._below(root_id)})

    def device_class_counts(self) -> dict[str, int]:
        """Return the number of devices of each class."""
        return dict(Counter(device.get("class") for device in self._dump["devices"]))

    def _bucket(self, number: int) -> dict[str, Any] | None:
        return next((b for b in self._dump["buckets"] if b["id"] == number), None)

    def _takes(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for rule in self._dump["rules"]:
            for step in rule["steps"]:
                if step["op"] == "take":
                    yield rule, step

    def _placed(self) -> Iterator[tuple[int, float]]:
        for bucket in self._dump["buckets"]:
            for item in bucket["items"]:
                yield item["id"], float(item["weight"]) / WEIGHT_UNIT

    def _below(self, root: int) -> Iterator[tuple[int, float]]:
        bucket = self._bucket(root)
        for item in bucket["items"] if bucket else ():
            if item["id"] >= 0:
                yield item["id"], float(item["weight"]) / WEIGHT_UNIT
            else:
                yield from self._below(item["id"])
