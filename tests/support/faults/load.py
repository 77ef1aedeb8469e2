"""Clients that never stop asking, and write down every call and every answer."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from mgr.client.blocking import Client
from mgr.client.messages import Answer
from mgr.clock import CLOCK
from mgr.errors import NOTHING_RAN, InternalError, MgrError, UnreachableError
from tests.support.linearizable import Operation

UNDONE = tuple(error.reason for error in (*NOTHING_RAN, UnreachableError))
"""A call that ended with one of these did nothing."""
KEYS = 6
PUTS_PER_KEY = 60
"""Then a fresh name: a search through a history costs more than its length."""
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A mutating command that was acknowledged: called, answered, and by which term."""

    begun_s: float
    ended_s: float
    term: int


@dataclass
class Record:
    """What all clients of a run have seen.

    Attributes:
        operations: Every put, removal and get of the ledger, those of unknown outcome included.
        tokens: Of each act whether it was acknowledged (True) or its outcome is unknown.
        failed: Commands that did nothing, and what was said.
        returned_error: Commands that ran and were refused by the module.

    """

    operations: list[Operation] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    tokens: dict[str, bool] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    returned_error: list[str] = field(default_factory=list)

    @property
    def commands(self) -> int:
        """How many were sent."""
        acknowledged = sum(each.ended_s < float("inf") for each in self.operations)
        acts = sum(self.tokens.values())
        return acknowledged + acts + len(self.failed) + len(self.unknown) + len(self.returned_error)

    def first_after(self, moment_s: float, term: int) -> Answered | None:
        """The first command answered in a term after ``term``; None if there is none yet."""
        later = [a for a in self.answered[-4000:] if a.ended_s > moment_s and a.term > term]
        return min(later, key=lambda each: each.ended_s, default=None)

    def longest_wait_s(self, since_s: float) -> float:
        """The longest that a command took which was answered since then."""
        return max(
            (each.ended_s - each.begun_s for each in self.answered if each.ended_s > since_s),
            default=0.0,
        )


class Load:
    """Several clients in threads. Use as a context manager."""

    def __init__(
        self,
        record: Record,
        client: Callable[[], Client],
        clients: int,
        pause_s: float,
        *,
        acts: bool = True,
    ) -> None:
        """Each waits ``pause_s`` between two calls; with ``acts`` some act outside."""
        self._record = record
        self._client = client
        self._pause_s = pause_s
        self._acts = acts
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"client {number}")
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 10)

    def _run(self, number: int) -> None:
        rng = random.Random(number)
        count = 0
        with self._client() as client:
            while not self._stop.wait(self._pause_s):
                count += 1
                # All clients move on to fresh keys at about the same time.
                key = f"{count // (KEYS * PUTS_PER_KEY)}.{rng.randrange(KEYS)}"
                what = rng.random()
                if what < 0.4:
                    self._put(client, key, f"{number}.{count}")
                elif what < 0.55:
                    self._put(client, key, None)
                elif what < 0.8 or not self._acts:
                    self._get(client, key)
                else:
                    self._act(client, f"{number}.{count}")

    def _put(self, client: Client, key: str, value: str | None) -> None:
        """Write ``value``; None: remove the key."""
        begun_s = CLOCK.now()
        if value is None:
            answer = self._ask(client, "rm", key=key)
        else:
            answer = self._ask(client, "put", key=key, value=value)
        if answer is None:
            return
        ended_s = self._done(begun_s, answer)
        operation = Operation(key=key, action="put", value=value, begun_s=begun_s, ended_s=ended_s)
        self._record.operations.append(operation)

    def _get(self, client: Client, key: str) -> None:
        begun_s = CLOCK.now()
        answer = self._ask(client, "get", key=key)
        if isinstance(answer, Answer):
            value = answer.text if answer.retval == 0 else None
            self._record.operations.append(
                Operation(key=key, action="get", value=value, begun_s=begun_s, ended_s=CLOCK.now())
            )

    def _act(self, client: Client, token: str) -> None:
        begun_s = CLOCK.now()
        answer = self._ask(client, "act", token=token)
        if answer is not None:
            self._record.tokens[token] = self._done(begun_s, answer) < float("inf")

    def _done(self, begun_s: float, answer: Answer | MgrError) -> float:
        """When it was acknowledged; infinity if nobody knows whether it was done."""
        ended_s = CLOCK.now()
        if isinstance(answer, MgrError):
            return float("inf")
        if answer.retval:
            # The module ran and failed, so how far it came is its own secret.
            self._record.returned_error.append(answer.stderr[-200:])
            return float("inf")
        self._record.answered.append(Answered(begun_s, ended_s, answer.term))
        return ended_s

    def _ask(self, client: Client, verb: str, **arguments: str) -> Answer | MgrError | None:
        """The answer; the error if the outcome is unknown; None if surely nothing was done."""
        try:
            return client.execute(["ledger", verb], arguments, timeout_s=TIMEOUT_S)
        except MgrError as error:
            if error.reason in UNDONE and not isinstance(error, InternalError):
                self._record.failed.append(f"{error.reason}: {error}")
                return None
            self._record.unknown.append(f"{error.reason}: {error}")
            return error
