"""The age of the active's last confirmed write, as its guard hears it."""

from __future__ import annotations

import asyncio
import contextlib

from mgr.active.write_proof import PROVE_EVERY_S, WriteProof
from mgr.errors import FencedError, StoreUnavailableError
from mgr.store.keys import Keys
from tests.support.clock import ManualClock

KEYS = Keys("c")


class Fenced:
    """Answers with what it is told to, and takes its time."""

    def __init__(self, clock, *answers):
        self.clock = clock
        self.answers = list(answers)
        self.written = []

    async def put(self, key, value, *, timeout_s):
        assert timeout_s > 0
        if not self.answers:
            await asyncio.Event().wait()
        self.written.append((key, value))
        error = self.answers.pop(0)
        self.clock.advance(0.3)
        if error is not None:
            raise error


async def proven(monkeypatch, *answers):
    """The proof after the store has given ``answers``."""
    monkeypatch.setattr("mgr.active.write_proof.PROVE_EVERY_S", 0.0)
    clock = ManualClock()
    proof = WriteProof(fenced := Fenced(clock, *answers), KEYS, clock)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await proof.prove()
    return proof, fenced


async def test_the_age_counts_from_the_sending(monkeypatch):
    """The store confirmed it some time after that."""
    proof, fenced = await proven(monkeypatch, None)

    assert round(proof.age_s(), 3) == 0.3
    assert fenced.written == [(KEYS.proof, "1")]


async def test_a_write_that_fails_lets_the_age_grow(monkeypatch):
    """And the next one is tried all the same."""
    proof, fenced = await proven(monkeypatch, None, StoreUnavailableError("silent"))

    assert round(proof.age_s(), 3) == 0.6
    assert len(fenced.written) == 2


async def test_a_term_that_is_over_is_proven_no_more(monkeypatch):
    """The store has said so; the guard hears it another way."""
    _, fenced = await proven(monkeypatch, FencedError("proof", term=3), None)

    assert len(fenced.written) == 1


def test_a_proof_a_second_is_enough_and_cheap():
    """The guard's limit holds several."""
    from mgr.guard.worker_health import UNABLE_AFTER_S

    assert PROVE_EVERY_S * 3 < UNABLE_AFTER_S
