"""Which etcd cluster the endpoints must belong to, and how far it has been seen to get.

Two facts decide whether an answer counts. Its header names the cluster: an endpoint that was
initialised anew, or a wrong address in the list, answers for another one, and what it says about
our keys and leases is meaningless. And revisions only grow: a linearizable answer below a
revision that was seen before the request was sent means that etcd was restored from a copy.
Create revisions would then be given a second time, and terms are create revisions.

Neither answer is used. An etcd that is not ours is as good as absent: nothing is won, lost,
renewed or read there, so a term is suspended at its deadline and goes on if the right etcd comes
back (docs/adr/0035).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mgr.clock import CLOCK, Clock
from mgr.link import KnownStoreState

LOG_AGAIN_S: Final = 5.0
"""A foreign endpoint is logged again after this, then after twice as long, and so on."""
LOG_AGAIN_MAX_S: Final = 600.0
SILENT_S: Final = 3.0
"""The right cluster is called away when it has not answered for so long."""
LEAP_MIN: Final = 1_000_000
WRITES_PER_S_MAX: Final = 100_000
"""More than any etcd does. A revision that grows quicker was raised by ``--bump-revision``."""
PROCEDURE: Final = '"Back up and restore etcd" in docs/how-to/back-up-and-restore.md'

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _ForeignEndpoint:
    """An endpoint that answered for another cluster."""

    cluster_id: int
    found: int = 0
    log_at_s: float = 0.0
    pause_s: float = LOG_AGAIN_S


class StoreIdentity:
    """The cluster id that is expected, and the newest revision and term that were seen.

    Changed on one event loop. Shared by the channel, which checks every answer against it, and
    by whoever decides about leadership.
    """

    def __init__(
        self, seen: KnownStoreState | None = None, *, probe_key: str = "/", clock: Clock = CLOCK
    ) -> None:
        """Begin with what was ``seen`` before, by an earlier process or by the guard.

        ``probe_key`` is a key that may be read, present or not: the answer shows etcd's revision.
        """
        seen = seen or KnownStoreState()
        self.probe_key = probe_key
        self.cluster_id = seen.cluster_id
        """What every header must name; 0 while it is not known."""
        self.newest_revision = seen.newest_revision
        self.newest_term = seen.newest_term
        self.confirmed = not seen.newest_revision
        """Whether etcd is known to be at ``newest_revision`` at least. Until then only a
        linearizable read may be sent."""
        self.restores = 0
        """How often etcd was found restored from a copy: it went back in time, or leapt."""
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._advanced_s = clock.now()
        self._behind = 0
        self._silent_since_s: float | None = None
        self._only_foreign = False
        self._conflict = ""
        self._foreign: dict[str, _ForeignEndpoint] = {}

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever trouble, restores, cluster id or newest term has changed."""
        self._listeners.append(listener)

    @property
    def seen(self) -> KnownStoreState:
        """What another process, or the next one, must know."""
        return KnownStoreState(
            cluster_id=self.cluster_id,
            newest_revision=self.newest_revision,
            newest_term=self.newest_term,
        )

    @property
    def foreign(self) -> Mapping[str, int]:
        """The endpoints that answered last for another cluster, and its id."""
        return {address: found.cluster_id for address, found in self._foreign.items()}

    @property
    def trouble(self) -> str:
        """Why etcd cannot be used, and what to do, for operators; empty if it can."""
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
        """Expect the cluster that most endpoints in ``found`` name; False if there is a tie.

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
                f"the endpoints belong to different etcd clusters ({which}), and nothing says "
                "which is meant. Correct the setting etcd"
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
        """Whether ``cluster_id``, which the endpoint at ``address`` named, is the expected one."""
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
        """Note that no endpoint gave an answer that counts."""
        now_s = self._clock.now()
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        lasting = now_s - self._silent_since_s >= SILENT_S
        if lasting and self._foreign and not self._only_foreign:
            # Not at once: an election inside the right cluster takes a second or two.
            self._only_foreign = True
            self._changed()

    def times_foreign(self, address: str) -> int:
        """How often in a row the endpoint at ``address`` was of another cluster."""
        found = self._foreign.get(address)
        return found.found if found else 0

    def advance(self, revision: int, since: int) -> bool:
        """Take in the ``revision`` of a linearizable answer; False if etcd went back in time.

        ``since`` is ``newest_revision`` as it was when the request was sent: an answer that was
        overtaken by a later one is no step back.
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
            log.warning("etcd's revision leapt: restored from a copy", extra={"by": leap})
            self._changed()
        return True

    def note_revision(self, revision: int) -> None:
        """Take in a revision that was surely committed."""
        self.newest_revision = max(self.newest_revision, revision)

    def note_term(self, term: int) -> None:
        """Take in the create revision of a leader key."""
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
        """Return by how much etcd is further than writing can have brought it; 0: it is not."""
        now_s = self._clock.now()
        before_s, self._advanced_s = self._advanced_s, now_s
        by = revision - self.newest_revision
        likely_max = LEAP_MIN + WRITES_PER_S_MAX * (now_s - before_s)
        # What another process saw, days ago perhaps, says nothing of how quickly etcd got here.
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
