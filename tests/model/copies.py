"""Two copies of one manager hold one term; and a reader follows a term that ends.

Both are about what shuts by itself: a gate at its deadline. The deadline is asked of the product's
functions (``tests.model.derived``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tests.model.checker import Label, Successors
from tests.model.derived import WINDOW, Spans

BAD, AGE, TOKEN = range(3)
"""The verdict; ticks since the copy was made; whose token the heartbeat carries (number plus 1;
0: that of the attempt that was under way when the copy was made)."""
HEAD: Final = 3
D, R, SENT, KNOWS, FITS, LOST, OWN = range(7)
"""Of one copy: ticks until its deadline; its request (1 on its way, 2 done, 3 refused) and its
age; whether the revision that it knows of the heartbeat is the newest; whether its request compares
the newest; whether it gave the term up; whether it sent the attempt that was under way."""
SIZE: Final = 7
NAMES: Final = ("the first copy", "the second copy")
VIOLATIONS: Final = (
    "",
    "I1: a window after the copy was made, both copies may still act in the same term",
)
PROTECTIONS: Final = {
    "heartbeat compares the last": "a heartbeat compares the revision of the one before it",
    "token per attempt": "a heartbeat carries a token, so that a copy recognises its own",
}
TICK, SEND, WRITTEN, REFUSED, HEARD, OWN_FOUND, GIVES_UP, LOSES = range(8)
TEXTS: Final = (
    "a tick passes",
    "{who} sends a heartbeat",
    "the heartbeat of {who} is written",
    "the heartbeat of {who} is refused: another one was written before",
    "{who} hears the answer; its deadline is in {left} ticks",
    "{who} reads the heartbeat and finds its own token",
    "{who} reads the heartbeat, finds a token that is not its own, and gives the term up",
    "the answer to {who} is lost",
)


class Copies:
    """Two copies that were resumed from one snapshot, with the same lease, term and deadline."""

    violations = VIOLATIONS

    def __init__(self, *broken: str) -> None:
        """Leave out the protections named by ``broken``."""
        if set(broken) - PROTECTIONS.keys():
            raise ValueError(f"no such protection: {broken}")
        self.name = "copies: " + " ".join(("one snapshot, two managers", *broken))
        self.broken = frozenset(broken)
        self.proof = Spans(0.01).proof
        self.bases = (HEAD, HEAD + SIZE)

    def initial(self) -> Iterable[bytes]:
        """Both have a fresh proof; a heartbeat was under way, or not, and may have been written."""
        states = []
        for under_way in (0, 1):
            for written in range(under_way + 1):
                state = bytearray(HEAD + 2 * SIZE)
                state[TOKEN] = 0 if under_way else 3
                for base in self.bases:
                    state[base + D], state[base + OWN] = self.proof[0], under_way
                    state[base + KNOWS] = int(not written)
                states.append(bytes(state))
        return states

    def canonical(self, state: bytes) -> bytes:
        """Return it as it is: the token names its copy."""
        return state

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say who did what."""
        action, who = label
        return TEXTS[action].format(who=NAMES[who], left=after[self.bases[who] + D])

    def successors(self, state: bytes) -> Successors:
        """Everything that may happen next."""
        out: Successors = []
        after = bytearray(state)
        after[AGE] = min(state[AGE] + 1, WINDOW + 1)
        for base in self.bases:
            after[base + D] -= after[base + D] > 0
            after[base + SENT] += after[base + R] > 0 and after[base + SENT] < WINDOW
        if after[AGE] > WINDOW and all(after[base + D] for base in self.bases):
            after[BAD] = 1
        if bytes(after) != state:
            out.append(((TICK, 0), bytes(after)))
        for who, base in enumerate(self.bases):
            if not state[base + LOST]:
                self._heartbeat(state, who, base, out)
        return out

    def _heartbeat(self, s: bytes, who: int, base: int, out: Successors) -> None:
        after = bytearray(s)
        stage = s[base + R]
        if stage == 0:
            after[base + R], after[base + SENT], after[base + FITS] = 1, 0, s[base + KNOWS]
            out.append(((SEND, who), bytes(after)))
            return
        if stage == 1:
            fits = s[base + FITS] or "heartbeat compares the last" in self.broken
            if fits:
                for other in self.bases:
                    after[other + KNOWS] = after[other + FITS] = 0
                after[TOKEN] = who + 1
            after[base + R] = 2 if fits else 3
            out.append(((WRITTEN if fits else REFUSED, who), bytes(after)))
        elif stage == 2:
            after[base + R] = 0
            after[base + D] = max(s[base + D], self.proof[s[base + SENT]])
            after[base + KNOWS] = s[TOKEN] == who + 1
            out.append(((HEARD, who), bytes(after)))
        else:
            self._reads(after, who, base, out)
        lost = bytearray(s)
        lost[base + R] = 0
        out.append(((LOSES, who), bytes(lost)))

    def _reads(self, after: bytearray, who: int, base: int, out: Successors) -> None:
        own = after[TOKEN] == who + 1 or (after[TOKEN] == 0 and after[base + OWN])
        after[base + R] = 0
        if own or "token per attempt" in self.broken:
            after[base + KNOWS] = 1
            out.append(((OWN_FOUND, who), bytes(after)))
        else:
            after[base + D], after[base + LOST] = 0, 1
            out.append(((GIVES_UP, who), bytes(after)))


GATE, SINCE, READS, NEXT = 1, 2, 3, 4
"""Of the streams: ticks until the gate of the old term shuts; ticks since; whom the reader follows
(1 the old active, 2 the new one, 0 nobody); whether a new one leads."""


class Streams:
    """A reader follows the old active; its gate shuts, and a successor leads."""

    violations: Final = (
        "",
        "I7: a reader got something from a term whose gate is shut",
        "I7: a reader still follows a term that is over, a tick after its gate shut",
    )
    protections: Final = {
        "streams end at the gate": "an active leaves every stream at its deadline"
    }

    def __init__(self, *broken: str) -> None:
        """Leave out the protections named by ``broken``."""
        if set(broken) - self.protections.keys():
            raise ValueError(f"no such protection: {broken}")
        self.name = "streams: " + " ".join(("one reader, two terms", *broken))
        self.broken = frozenset(broken)
        self.proof = Spans(0.01).proof[0]

    def initial(self) -> Iterable[bytes]:
        """The old active has a fresh proof, and the reader follows it."""
        return [bytes((0, self.proof, 0, 1, 0))]

    def canonical(self, state: bytes) -> bytes:
        """Return it as it is."""
        return state

    def describe(self, label: Label, before: bytes, after: bytes) -> str:
        """Say who did what."""
        return (
            "a tick passes" + ("; the gate is shut" if not after[GATE] else ""),
            "the old active proves its term",
            "a successor leads",
            "the reader gets an item of the stream it follows",
            "the reader finds the active",
        )[label[0]]

    def successors(self, state: bytes) -> Successors:
        """Everything that may happen next."""
        _, gate, since, reads, following = state
        shut = gate <= 1
        # Ended by the clock: nobody has to notice anything.
        leaves = shut and reads == 1 and "streams end at the gate" not in self.broken
        late = min(since + 1, 2) if gate == 0 else 0
        reader = 0 if leaves else reads
        bad = 2 if reader == 1 and late > 1 else 0
        out: Successors = [((0, 0), bytes((bad, max(0, gate - 1), late, reader, following)))]
        if not following:
            out.append(((1, 0), bytes((0, self.proof, 0, reads, 0))))
        if gate == 0:
            out.append(((2, 0), bytes((0, gate, since, reads, 1))))
        if reads:
            bad = 1 if reads == 1 and gate == 0 else 0
            out.append(((3, 0), bytes((bad, gate, since, reads, following))))
        if reads == 0 and (gate or following):
            out.append(((4, 0), bytes((0, gate, since, 2 if following else 1, following))))
        return out
