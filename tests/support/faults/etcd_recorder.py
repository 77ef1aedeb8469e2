"""Records every change of a cluster's keys in etcd, and checks each against the invariants.

Etcd numbers every transaction and replays them from any number on, so the record is complete: it
does not depend on what some client happened to observe.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from mgr.clock import CLOCK
from mgr.election.records import Leader, TermRecord, decode
from mgr.store import etcd3_stubs
from mgr.store.keys import Keys
from tests.support.cluster import wait_for

WATCH = etcd3_stubs.method("Watch", "Watch")
RANGE = etcd3_stubs.method("KV", "Range")
DELETED = 1
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 1000),
)
LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class LeaderTerm:
    """One term: its number, the leader's name, and when its start was observed (boot clock)."""

    term: int
    name: str
    seen_s: float


@dataclass
class Entry:
    """The values of one entry of the ledger. No two writes have the same value."""

    now: str | None = None
    gone: set[str] = field(default_factory=set)

    def becomes(self, value: str | None) -> bool:
        """Record the next value (None: removed); return False if it was there before and went."""
        if self.now is not None and self.now != value:
            self.gone.add(self.now)
        self.now = value
        return value not in self.gone


@dataclass
class EtcdRecorder:
    """Follows the keys of one cluster. Use as a context manager.

    Attributes:
        endings: When the deletion of each leader key was observed.
        heartbeats: When each leader heartbeat was observed.
        deposed: Terms that a standby ended.
        quiesced: By term, when a term record with ``quiesced`` was observed: nothing acts any more.
        violations: The violated invariants, in words.

    """

    endpoints: Sequence[str]
    keys: Keys
    terms: list[LeaderTerm] = field(default_factory=list)
    endings: list[float] = field(default_factory=list)
    heartbeats: list[float] = field(default_factory=list)
    deposed: set[int] = field(default_factory=set)
    quiesced: dict[int, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    writes: int = 0
    revision: int = 0
    _leads: int = 0
    _entries: dict[str, Entry] = field(default_factory=lambda: defaultdict(Entry))

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="etcd-recorder")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._call is not None:
            self._call.cancel()
        self._thread.join(10)

    def catch_up(self, timeout_s: float = 30) -> None:
        """Wait until every change made until now is checked."""
        now = self._newest()
        wait_for(lambda: self.revision >= now, "the etcd recorder to catch up", timeout_s)

    def _newest(self) -> int:
        for address in self.endpoints:
            with grpc.insecure_channel(address) as channel:
                read = _call(channel.unary_unary, RANGE)
                try:
                    # Only of this cluster: the watch does not report other keys.
                    last = read(
                        RANGE.request(
                            key=self.keys.root.encode(),
                            range_end=_end(self.keys.root),
                            sort_order=2,
                            sort_target=3,
                            limit=1,
                        ),
                        timeout=5,
                    )
                except grpc.RpcError:
                    continue
                return max((pair.mod_revision for pair in last.kvs), default=0)
        raise TimeoutError("no etcd reports its revision")

    # -- following --------------------------------------------------------------------------------

    def _run(self) -> None:
        for address in itertools.cycle(self.endpoints):
            if self._stop.is_set():
                return
            try:
                self._follow(address)
            except grpc.RpcError:
                self._stop.wait(0.05)

    def _follow(self, address: str) -> None:
        with grpc.insecure_channel(address, options=OPTIONS) as channel:
            watch = _call(channel.stream_stream, WATCH)
            self._call = watch(self._requests(), metadata=(("hasleader", "true"),))
            for answer in self._call:
                if answer.compact_revision:
                    self.violations.append("the record has a gap: compacted before it was read")
                    self.revision = answer.compact_revision
                if answer.canceled:
                    return
                now_s = CLOCK.now()
                for _, events in itertools.groupby(answer.events, lambda e: e.kv.mod_revision):
                    self._transaction(list(events), now_s)

    def _requests(self) -> Iterator[Any]:
        root = self.keys.root
        yield WATCH.request(
            create_request={
                "key": root.encode(),
                "range_end": _end(root),
                "start_revision": self.revision + 1,
            }
        )
        self._stop.wait()

    # -- checking ---------------------------------------------------------------------------------

    def _transaction(self, events: Iterable[Any], now_s: float) -> None:
        """Check the events of one revision against the term that led before it."""
        led = self._leads
        for event in events:
            key = event.kv.key.decode()
            self.revision = event.kv.mod_revision
            if event.type == DELETED:
                if key == self.keys.leader:
                    self._leads = 0
                    self.endings.append(now_s)
                elif key in self._entries:
                    self._entries[key].becomes(None)
                continue
            self._put(key, event.kv, led, now_s)

    def _put(self, key: str, pair: Any, led: int, now_s: float) -> None:
        keys = self.keys
        if key == keys.leader:
            if pair.create_revision == pair.mod_revision:
                self._begins(pair, now_s)
        elif key == keys.heartbeat:
            self.heartbeats.append(now_s)
        elif key == keys.term_record:
            term_record = decode(pair.value.decode(), TermRecord)
            if term_record is not None and term_record.reason == "deposed":
                self.deposed.add(term_record.term)
            if term_record is not None and term_record.quiesced:
                self.quiesced.setdefault(term_record.term, now_s)
        elif key.startswith((keys.kv, keys.config, keys.requests, keys.modules, keys.services)):
            self._written(key, pair.value, led)

    def _written(self, key: str, value: bytes, led: int) -> None:
        """Check a fenced write that was done in the term ``led``."""
        self.writes += 1
        if not led:
            self.violations.append(f"{key} was written while nobody led")
        elif (term := self._written_in(key, value)) not in {None, led}:
            self.violations.append(f"{key}: a write of term {term} landed in term {led}")
        if key.startswith(self.keys.module_entry(LEDGER, "entry/")):
            # Without the term: a client's write that is done again carries another one.
            written = value.decode().partition(" ")[2]
            if not self._entries[key].becomes(written):
                self.violations.append(f"{key}: {written!r} came back after it was gone")

    def _written_in(self, key: str, value: bytes) -> int | None:
        """Return the term that a record was written in; None if the record does not contain it."""
        if key.startswith(self.keys.requests):
            return int(json.loads(value)["term"])
        if key.startswith(self.keys.module_entry(LEDGER, "")):
            return int(value.partition(b" ")[0])
        return None

    def _begins(self, pair: Any, now_s: float) -> None:
        leader = decode(pair.value.decode(), Leader)
        term = pair.create_revision
        if self._leads:
            self.violations.append(f"term {term} begins while term {self._leads} lasts")
        if self.terms and term <= self.terms[-1].term:
            self.violations.append(f"term {term} begins after term {self.terms[-1].term}")
        if len(self.endings) < len(self.terms):
            # Both in one message: less than a millisecond apart.
            self.endings.append(now_s)
        self._leads = term
        self.terms.append(LeaderTerm(term, leader.name if leader else "", now_s))


def _end(prefix: str) -> bytes:
    return prefix[:-1].encode() + bytes([ord(prefix[-1]) + 1])


def _call(make: Any, method: Any) -> Any:
    return make(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
