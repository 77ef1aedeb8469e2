"""Checks that answers come from the right etcd cluster, and that etcd did not go back in time.

An answer is used only if two conditions hold. First, its header has the expected cluster id: a
reinitialised member, or a wrong address in the setting, answers for another cluster, which has
none of our keys and leases. Second, revisions only grow: a linearizable answer below a revision
that was seen before the request was sent means that etcd was restored from a backup. It would then
assign create revisions a second time, and terms are create revisions.

An etcd that fails either check is treated as absent: nothing is acquired, lost, renewed or read
there. A term is suspended at its deadline and resumes if the right etcd returns (docs/adr/0035).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mgr.clock import CLOCK, Clock
from mgr.link import KnownStoreState

LOG_AGAIN_S: Final = 5.0
"""An endpoint of another cluster is logged again after this, then after twice as long, etc."""
LOG_AGAIN_MAX_S: Final = 600.0
SILENT_S: Final = 3.0
"""The right cluster counts as unreachable if it has not answered for so long."""
LEAP_MIN: Final = 1_000_000
WRITES_PER_S_MAX: Final = 100_000
"""More than any etcd can do. If the revision grows faster, ``--bump-revision`` raised it."""
PROCEDURE: Final = '"Restore a snapshot" in docs/how-to/back-up-and-restore.md'

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _ForeignEndpoint:
    """An endpoint that answered for another cluster."""

    cluster_id: int
    found: int = 0
    log_at_s: float = 0.0
    pause_s: float = LOG_AGAIN_S


class StoreIdentity:
    """The expected cluster id, and the newest revision and term seen.

    Used on one event loop. The channel checks every answer against it; the election and the guard
    read it too.
    """

    def __init__(
        self, seen: KnownStoreState | None = None, *, probe_key: str = "/", clock: Clock = CLOCK
    ) -> None:
        """Begin with the state ``seen`` by an earlier process or by the guard.

        ``probe_key`` is a key that may be read, present or not: the answer shows etcd's revision.
        """
        seen = seen or KnownStoreState()
        self.probe_key = probe_key
        self.cluster_id = seen.cluster_id
        """The cluster id that every header must have; 0 while none is chosen."""
        self.newest_revision = seen.newest_revision
        self.newest_term = seen.newest_term
        self.confirmed = not seen.newest_revision
        """Whether etcd has been seen at or above ``newest_revision`` by this process. Until then
        only a linearizable read may be sent."""
        self.restores = 0
        """How often etcd was found restored from a backup: its revision went back, or jumped."""
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._advanced_s = clock.now()
        self._behind = 0
        self._silent_since_s: float | None = None
        self._only_foreign = False
        self._conflict = ""
        self._foreign: dict[str, _ForeignEndpoint] = {}

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change of trouble, restores, cluster id or newest term."""
        self._listeners.append(listener)

    @property
    def seen(self) -> KnownStoreState:
        """The state that is handed to another process, or stored for the next one."""
        return KnownStoreState(
            cluster_id=self.cluster_id,
            newest_revision=self.newest_revision,
            newest_term=self.newest_term,
        )

    @property
    def foreign(self) -> Mapping[str, int]:
        """The endpoints whose last answer came from another cluster, with that cluster's id."""
        return {address: found.cluster_id for address, found in self._foreign.items()}

    @property
    def trouble(self) -> str:
        """Why etcd cannot be used and what to do, for operators; empty if it can be used."""
        if self._behind:
            return (
                f"etcd went back in time: it is at revision {self._behind}, and "
                f"{self.newest_revision} was seen before. Restored from a snapshot? Restore it "
                f"again with --bump-revision {self.newest_revision} (or more) --mark-compacted, "
                f"see {PROCEDURE}. This ends by itself once etcd is past that revision"
            )
        if self._conflict:
            return self._conflict
        if self._only_foreign:
            return (
                f"no endpoint of etcd cluster {self.cluster_id:x} answers, and {self._listed()}. "
                "Correct the setting etcd, or that member; if etcd was replaced for good, see "
                f"{PROCEDURE}"
            )
        return ""

    def choose_cluster(self, found: Mapping[str, int]) -> bool:
        """Expect the cluster that most endpoints in ``found`` report; return False if tied.

        ``found`` has the cluster id of each endpoint that answered; it is not empty.
        """
        count: dict[int, list[str]] = {}
        for address, cluster_id in found.items():
            count.setdefault(cluster_id, []).append(address)
        most = max(map(len, count.values()))
        chosen = [cluster_id for cluster_id, where in count.items() if len(where) == most]
        if len(chosen) > 1:
            which = "; ".join(f"{of:x}: {', '.join(where)}" for of, where in sorted(count.items()))
            conflict = (
                f"the endpoints belong to different etcd clusters ({which}), and it is unclear "
                "which one is meant. Correct the setting etcd"
            )
            if conflict != self._conflict:
                self._conflict = conflict
                log.error("etcd clusters differ", extra={"why": conflict})
                self._changed()
            return False
        self._conflict = ""
        self.cluster_id = chosen[0]
        log.info("etcd cluster chosen", extra={"cluster_id": f"{self.cluster_id:x}"})
        self._changed()
        return True

    def matches(self, address: str, cluster_id: int) -> bool:
        """Return whether ``cluster_id``, reported by the endpoint ``address``, is as expected."""
        if cluster_id != self.cluster_id:
            self._note_foreign(address, cluster_id)
            return False
        if self._foreign.pop(address, None) is not None:
            log.info("etcd endpoint belongs to the right cluster", extra={"address": address})
            self._changed()
        self._silent_since_s = None
        if self._only_foreign:
            self._only_foreign = False
            self._changed()
        return True

    def unanswered(self) -> None:
        """Record that no endpoint gave a valid answer to a request."""
        now_s = self._clock.now()
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        lasting = now_s - self._silent_since_s >= SILENT_S
        if lasting and self._foreign and not self._only_foreign:
            # Not at once: an election among the members of the right cluster takes a second or two.
            self._only_foreign = True
            self._changed()

    def times_foreign(self, address: str) -> int:
        """Return how often in a row the endpoint ``address`` answered for another cluster."""
        found = self._foreign.get(address)
        return found.found if found else 0

    def advance(self, revision: int, since: int) -> bool:
        """Record the ``revision`` of a linearizable answer; return False if etcd went back in time.

        ``since`` is ``newest_revision`` at the time when the request was sent, so that an answer
        overtaken by a newer one does not count as a step back.
        """
        if revision < since:
            first, self._behind, self.confirmed = not self._behind, revision, False
            if first:
                self.restores += 1
                log.error("etcd went back in time", extra={"why": self.trouble})
                self._changed()
            return False
        leap = self._leap(revision)
        self.note_revision(revision)
        if not self.confirmed and revision >= self.newest_revision:
            self.confirmed = True
            if self._behind:
                self._behind = 0
                log.warning("etcd is past the newest revision again", extra={"revision": revision})
                self._changed()
        if leap:
            self.restores += 1
            log.warning("etcd's revision jumped: restored from a backup", extra={"by": leap})
            self._changed()
        return True

    def note_revision(self, revision: int) -> None:
        """Record a revision that was certainly committed."""
        self.newest_revision = max(self.newest_revision, revision)

    def note_term(self, term: int) -> None:
        """Record a term: the create revision of a leader key."""
        self.note_revision(term)
        if term > self.newest_term:
            self.newest_term = term
            self._changed()

    def _note_foreign(self, address: str, cluster_id: int) -> None:
        found = self._foreign.get(address)
        if found is None or found.cluster_id != cluster_id:
            found = self._foreign[address] = _ForeignEndpoint(cluster_id)
            self._changed()
        found.found += 1
        now_s = self._clock.now()
        if now_s >= found.log_at_s:
            found.log_at_s = now_s + found.pause_s
            found.pause_s = min(2 * found.pause_s, LOG_AGAIN_MAX_S)
            log.warning(
                "etcd endpoint belongs to another cluster and is not used",
                extra={
                    "address": address,
                    "cluster_id": f"{cluster_id:x}",
                    "expected": f"{self.cluster_id:x}",
                    "times": found.found,
                },
            )

    def _leap(self, revision: int) -> int:
        """Return by how much the revision jumped, beyond what writes can explain; 0: it did not."""
        now_s = self._clock.now()
        before_s, self._advanced_s = self._advanced_s, now_s
        by = revision - self.newest_revision
        likely_max = LEAP_MIN + WRITES_PER_S_MAX * (now_s - before_s)
        # A revision seen by another process may be days old, so it does not show how fast the
        # revision grew.
        known = self.confirmed and self.newest_revision
        return by if known and by > likely_max else 0

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _listed(self) -> str:
        return ", ".join(
            f"{address} belongs to cluster {cluster_id:x}"
            for address, cluster_id in sorted(self.foreign.items())
        )
