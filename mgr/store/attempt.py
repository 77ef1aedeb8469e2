"""One write through all its attempts: what it compares, and what each answer means.

Pure: it sends nothing. ``fenced.py`` sends, and asks this what an answer means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mgr.errors import ConflictError, FencedError, OutcomeUnknownError
from mgr.store.api import (
    ABSENT,
    Compare,
    Created,
    DeletePrefix,
    Modified,
    Operation,
    Outcome,
    Put,
    Record,
    Revision,
)


@dataclass(slots=True)
class Write:
    """A transaction of the active that is to be done once.

    Attributes:
        name: The first key or prefix that it changes, for messages.
        fence: The proof of the term.
        order: The key that makes unanswered attempts impossible.
        known: What is known of each key to be changed; it need not be the latest.
        unanswered: What an attempt compares ``order`` with that was sent and not answered.
        doubtful: An attempt left no trace by which it could be told whether it was done.

    """

    name: str
    operations: Sequence[Operation]
    when: Sequence[Compare]
    fence: Created
    order: str
    known: dict[str, Record | None] = field(default_factory=dict)
    unanswered: Revision | None = None
    doubtful: bool = False

    def compares(self, order: Revision) -> tuple[Compare, ...]:
        """Return the proofs, the caller's conditions, and what is known of each key."""
        return (
            self.fence,
            Modified(self.order, order),
            *self.when,
            *(Modified(key, mod_revision_of(record)) for key, record in self.known.items()),
        )

    def reads(self) -> tuple[str, ...]:
        """Return the keys to be read if a compare fails, in the order of ``compares``."""
        conditions = (compare.key for compare in self.when)
        return (self.fence.key, self.order, *conditions, *self.known)

    def still_leads(self, outcome: Outcome) -> bool:
        """Whether the term still led at a refusal."""
        return holds(self.fence, outcome.found[0])

    def on_answer(self, outcome: Outcome) -> Revision | None:
        """Return the revision at which all is done, or None: send it again.

        Raises:
            FencedError: Refused, since the term is over.
            ConflictError: Refused, since a condition of the caller did not hold.
            OutcomeUnknownError: Refused, and it cannot be told of an earlier attempt.

        """
        if outcome.succeeded:
            return outcome.revision
        conditions, now = self._found(outcome)
        broken = [
            compare.key
            for compare, record in zip(self.when, conditions, strict=True)
            if not holds(compare, record)
        ]
        if self.doubtful and (broken or not self.still_leads(outcome)):
            raise self._unknown()
        if not self.still_leads(outcome):
            raise FencedError(self.name, term=self.fence.revision)
        if broken:
            raise ConflictError(f"write {self.name!r}: {broken[0]!r} was changed by somebody else")
        # Only our own knowledge was old, of the keys or of the order. Of the keys: the last
        # writer wins, and that is us.
        self.known = now
        return None

    def settle(self, outcome: Outcome) -> Revision | None:
        """Say what became of the unanswered attempt, which can not be done any more.

        Returns the revision at which all was done; None: it was not, send it again.

        Raises:
            FencedError: It was not done, and the term is over.
            OutcomeUnknownError: Something else stands there by now.

        """
        self.unanswered = None
        _, now = self._found(outcome)
        if (revision := self._standing(now, outcome.revision)) is not None:
            self.known = now
            return revision
        # All of a transaction is done or nothing: one record that it would have changed is proof.
        undone = any(
            record is not None and mod_revision_of(now[key]) == record.mod_revision
            for key, record in self.known.items()
        )
        # No record at all is proof only while nobody else may have deleted it.
        absent = all(record is None for record in (*self.known.values(), *now.values()))
        if not undone and not (absent and self.still_leads(outcome)):
            raise self._unknown()
        if not self.still_leads(outcome):
            raise FencedError(self.name, term=self.fence.revision)
        self.known = now
        self.doubtful |= not undone and not self._leaves_trace()
        return None

    def records(self, revision: Revision) -> list[Record]:
        """Return what the puts made at ``revision``."""
        made = []
        for operation in self.operations:
            if isinstance(operation, Put):
                before = self.known[operation.key]
                created = before.create_revision if before else revision
                made.append(
                    Record(operation.key, operation.value, created, revision, operation.lease)
                )
        return made

    def _found(
        self, outcome: Outcome
    ) -> tuple[tuple[Record | None, ...], dict[str, Record | None]]:
        """Split what a refusal read: under the caller's conditions, and of the keys to change."""
        read = outcome.found[2:]
        conditions, changed = read[: len(self.when)], read[len(self.when) :]
        return conditions, dict(zip(self.known, changed, strict=True))

    def _leaves_trace(self) -> bool:
        """Whether something can be seen of it that was not there before."""
        return any(isinstance(operation, Put) for operation in self.operations) or any(
            record is not None for record in self.known.values()
        )

    def _standing(self, now: dict[str, Record | None], revision: Revision) -> Revision | None:
        """Return when everything came to stand as asked, None if it does not stand so."""
        if not self._leaves_trace():
            return None
        for operation in self.operations:
            if isinstance(operation, Put):
                record = now[operation.key]
                if (
                    record is None
                    or (record.value, record.lease) != (operation.value, operation.lease)
                    or record.mod_revision == mod_revision_of(self.known[operation.key])
                ):
                    return None
                revision = record.mod_revision
            elif not isinstance(operation, DeletePrefix) and now[operation.key] is not None:
                return None
        return revision

    def _unknown(self) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"write {self.name!r}: an attempt was not answered, and by now something else "
            "stands there"
        )


def mod_revision_of(record: Record | None) -> Revision:
    """Return when ``record`` was last changed; ``ABSENT`` where there is none."""
    return ABSENT if record is None else record.mod_revision


def holds(compare: Compare, record: Record | None) -> bool:
    """Whether ``compare`` holds where ``record`` stands, or nothing."""
    if record is None:
        return compare.revision == ABSENT
    actual = record.create_revision if isinstance(compare, Created) else record.mod_revision
    return actual == compare.revision
