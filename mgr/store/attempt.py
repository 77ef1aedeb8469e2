"""One fenced write over all its attempts: its compares, and the meaning of each answer.

Nothing here does input or output: ``fenced.py`` sends the attempts and evaluates answers by this.
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
    """A transaction of the active that must be done exactly once.

    Attributes:
        name: The first key or prefix that it changes, for messages.
        fence: The compare on the leader key, which holds while the term lasts.
        order: The key by which unanswered attempts are made impossible.
        known: The last known record of each key to be changed; it may be outdated.
        unanswered: The revision of ``order`` compared by an attempt that was not answered, or None.
        doubtful: Whether an attempt may have been done without a trace in the store.

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
        """Return the compares: the term, ``order``, the caller's ``when``, each known record.

        A record that ``when`` compares in the same way is not compared twice.
        """
        given = {(each.key, each.revision) for each in self.when if _of_the_last_change(each)}
        known = ((key, mod_revision_of(record)) for key, record in self.known.items())
        return (
            self.fence,
            Modified(self.order, order),
            *self.when,
            *(Modified(*each) for each in known if each not in given),
        )

    def reads(self) -> tuple[str, ...]:
        """Return the keys to be read if a compare fails, in the order of ``compares``."""
        conditions = (compare.key for compare in self.when)
        return (self.fence.key, self.order, *conditions, *self.known)

    def still_leads(self, outcome: Outcome) -> bool:
        """Return whether the term still lasted when ``outcome``, a refusal, was made."""
        return holds(self.fence, outcome.found[0])

    def on_answer(self, outcome: Outcome) -> Revision | None:
        """Return the revision at which the write was done, or None: send it again.

        Raises:
            FencedError: It was refused because the term is over.
            ConflictError: It was refused because one of the caller's compares did not hold.
            OutcomeUnknownError: It was refused, and an earlier attempt may have been done.

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
        # Only ``known`` or the revision of ``order`` was outdated. Among unconditional writes the
        # last one wins, so this one is sent again with what was read.
        self.known = now
        return None

    def settle(self, outcome: Outcome) -> Revision | None:
        """Find out whether the unanswered attempt was done; it cannot be done any more.

        Returns the revision at which it was done; None: it was not done, send it again.

        Raises:
            FencedError: It was not done, and the term is over.
            OutcomeUnknownError: The keys were changed since, so it cannot be found out.

        """
        self.unanswered = None
        _, now = self._found(outcome)
        if (revision := self._standing(now, outcome.revision)) is not None:
            self.known = now
            return revision
        # A transaction is atomic: one unchanged record that it would have changed proves that
        # nothing of it was done.
        undone = any(
            record is not None and mod_revision_of(now[key]) == record.mod_revision
            for key, record in self.known.items()
        )
        # If all keys are absent before and after, nothing was done, unless a later leader has
        # deleted them again. So this counts only while the term lasts.
        absent = all(record is None for record in (*self.known.values(), *now.values()))
        if not undone and not (absent and self.still_leads(outcome)):
            raise self._unknown()
        if not self.still_leads(outcome):
            raise FencedError(self.name, term=self.fence.revision)
        self.known = now
        self.doubtful |= not undone and not self._leaves_trace()
        return None

    def records(self, revision: Revision) -> list[Record]:
        """Return the records that the puts made at ``revision``."""
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
        """Split the records of a refusal: those of ``when``, and those of the keys to change."""
        read = outcome.found[2:]
        conditions, changed = read[: len(self.when)], read[len(self.when) :]
        return conditions, dict(zip(self.known, changed, strict=True))

    def _leaves_trace(self) -> bool:
        """Return whether the write, once done, can be recognised by what is stored."""
        return any(isinstance(operation, Put) for operation in self.operations) or any(
            record is not None for record in self.known.values()
        )

    def _standing(self, now: dict[str, Record | None], revision: Revision) -> Revision | None:
        """Return the revision at which the requested state came about; None if it is not there."""
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
            f"write {self.name!r}: an attempt was not answered, and the key was changed since: "
            "whether the write was done is unknown"
        )


def _of_the_last_change(compare: Compare) -> bool:
    """Return whether ``compare`` says of its key what comparing the last change would say."""
    return isinstance(compare, Modified) or compare.revision == ABSENT


def mod_revision_of(record: Record | None) -> Revision:
    """Return the revision at which ``record`` was last changed; ``ABSENT`` if there is none."""
    return ABSENT if record is None else record.mod_revision


def holds(compare: Compare, record: Record | None) -> bool:
    """Return whether ``compare`` holds if its key has ``record`` (None: is absent)."""
    if record is None:
        return compare.revision == ABSENT
    actual = record.create_revision if isinstance(compare, Created) else record.mod_revision
    return actual == compare.revision
