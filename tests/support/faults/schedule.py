"""Which faults come when, all from one seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

SEVERAL: Final = 0.25
"""How often a second fault comes while the first one lasts."""
SHORT_S: Final = 0.3
LONG_S: Final = 6.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them: ``seed`` is for its own rng, so that no fault changes the next."""

    name: str
    seed: int
    lasts_s: float


class Schedule:
    """Rounds of faults that begin together, without end."""

    def __init__(self, rng: Random, names: Sequence[str]) -> None:
        """Choose from ``names``."""
        self._rng = rng
        self._names = names

    def __iter__(self) -> Iterator[list[Fault]]:
        while True:
            count = 2 if self._rng.random() < SEVERAL else 1
            yield [
                Fault(name, self._rng.getrandbits(32), self._rng.uniform(SHORT_S, LONG_S))
                for name in self._rng.sample(self._names, count)
            ]
