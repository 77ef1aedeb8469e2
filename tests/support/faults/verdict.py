"""What must hold after every run, whatever was done to the cluster meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mgr.client.messages import Answer
from mgr.clock import CLOCK
from tests.support.faults.etcd_recorder import EtcdRecorder
from tests.support.faults.followers import Seen
from tests.support.faults.load import Record
from tests.support.faults.sink import Effect, Sink, Ticks
from tests.support.linearizable import Operation, violations

LogCheck = Callable[[Path], Iterable[str]]
"""What is wrong with the log of a manager, in words."""

SEEN_WITHIN_S: Final = 0.1
"""What was sent before something was written may be taken so much later, on a busy machine."""


def judge(
    record: Record,
    recorder: EtcdRecorder,
    counts: Mapping[str, int],
    sink: Sink,
    *,
    final: Callable[[str], Answer],
    logs: Mapping[str, Path],
    log_checks: Sequence[LogCheck],
    followed: Seen,
    leftovers: Sequence[str],
) -> list[str]:
    """Every violation in words; none is the only good answer.

    ``counts`` and ``final`` are read from the cluster after it has recovered. Each manager's log is
    given to every one of ``log_checks``.
    """
    history = [*record.operations, *(_read(key, final) for key in _last_keys(record))]
    return [
        *recorder.violations,
        *(f"entry {key} is not linearizable" for key in violations(history)),
        *_acts(record, counts),
        *_effects(record, sink.effects),
        *sink.ticks.violations(),
        *_quiesced(recorder.quiesced, sink.ticks),
        *_terms(record, recorder),
        *(
            f"{name}: {wrong}"
            for name, log in logs.items()
            for ask in log_checks
            for wrong in ask(log)
        ),
        *followed.violations,
        *leftovers,
    ]


def _logged(log: Path, checks: Sequence[LogCheck]) -> list[str]:
    return [wrong for check in checks for wrong in check(log)]


def keeps_secret(secret: str) -> LogCheck:
    """A value that is stored must not be logged."""

    def check(log: Path) -> list[str]:
        return ["a secret was logged"] if secret in log.read_text(errors="replace") else []

    return check


def _last_keys(record: Record) -> set[str]:
    """The keys written last; to read all of a long run would take as long as the run."""
    return {each.key for each in record.operations[-2000:]}


def _read(key: str, final: Callable[[str], Answer]) -> Operation:
    begun_s = CLOCK.now()
    answer = final(key)
    value = answer.text if answer.retval == 0 else None
    return Operation(key=key, action="get", value=value, begun_s=begun_s, ended_s=CLOCK.now())


def _acts(record: Record, counts: Mapping[str, int]) -> list[str]:
    twice = [f"act {token} was done {n} times" for token, n in counts.items() if n > 1]
    lost = [
        f"act {token} was acknowledged and is lost"
        for token, acknowledged in record.tokens.items()
        if acknowledged and token not in counts
    ]
    unasked = [f"act {token} was done and had failed" for token in set(counts) - set(record.tokens)]
    return [*twice, *lost, *unasked]


def _effects(record: Record, effects: Sequence[Effect]) -> list[str]:
    """No act that was acknowledged touched the outside after a newer term had."""
    found, newest = [], 0
    for effect in effects:
        late = effect.term < newest
        if late and effect.accepted:
            found.append(f"the sink took {effect.token} of term {effect.term} after {newest}")
        if late and record.tokens.get(effect.token):
            found.append(f"act {effect.token} of term {effect.term} came late, acknowledged")
        newest = max(newest, effect.term)
    return found


def _quiesced(quiesced: Mapping[int, float], ticks: Ticks) -> list[str]:
    """Nothing of a term acts once it is written that the term is quiesced."""
    return [
        f"{each.who} acted {each.last_s - quiesced[each.term]:.3f} s after term {each.term} was "
        "said to be quiesced"
        for each in ticks.actors.values()
        if each.term in quiesced and each.last_s > quiesced[each.term] + SEEN_WITHIN_S
    ]


def _terms(record: Record, recorder: EtcdRecorder) -> list[str]:
    """Only the leader answered mutating commands: no success comes from a standby."""
    terms = {term.term for term in recorder.terms}
    strange = {each.term for each in record.answered} - terms
    return [f"commands were answered in term {term}, which never was" for term in sorted(strange)]
