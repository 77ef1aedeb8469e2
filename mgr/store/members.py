"""The state of each etcd server, for people: which leads, how large it is, how fast it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mgr.store import etcd3_stubs
from mgr.store.api import StoreMember
from mgr.store.channel import EndpointAnswer

STATUS: Final = etcd3_stubs.method("Maintenance", "Status")
MEMBER_LIST: Final = etcd3_stubs.method("Cluster", "MemberList")
DENIED: Final = "etcd tells its state only to users with the role root"


def store_member(asked: EndpointAnswer, names: Mapping[int, str]) -> StoreMember:
    """Return what an endpoint answered to ``Status``; ``names`` are those of the member list."""
    answer: Any = asked.answer
    latency_ms = round(asked.seconds * 1000, 1)
    if asked.denied:
        return StoreMember(asked.address, reachable=True, error=DENIED, latency_ms=latency_ms)
    if answer is None:
        return StoreMember(asked.address, reachable=False, error=asked.error)
    member_id = int(answer.header.member_id)
    return StoreMember(
        asked.address,
        reachable=True,
        name=names.get(member_id, ""),
        version=str(answer.version),
        leader=member_id == int(answer.leader),
        latency_ms=latency_ms,
        bytes=int(answer.dbSize),
        quota_bytes=int(answer.dbSizeQuota),
    )
