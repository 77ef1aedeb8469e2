"""The page about failover is what the election is."""

from __future__ import annotations

from mgr.election.machine import TRANSITIONS, Phase
from mgr.election.timing import Timing
from tests.docs.pages import DOCS

PAGE = (DOCS / "explanation" / "failover.md").read_text()


def mermaid(transitions):
    """The table as a diagram; several events of one way share an arrow."""
    ways = {}
    for (phase, event), answer in transitions.items():
        if answer.phase is not phase:
            ways.setdefault((phase, answer.phase), []).append(event.name)
    lines = ["stateDiagram-v2", "    [*] --> JOINING"]
    lines += [
        f"    {before.name} --> {after.name}: {', '.join(events)}"
        for (before, after), events in ways.items()
    ]
    return "\n".join([*lines, "    STOPPED --> [*]"])


def test_the_diagram_is_the_table():
    """Change the table, and this names the lines to paste into the page."""
    assert mermaid(TRANSITIONS) in PAGE


def test_every_phase_is_explained():
    """A row each."""
    for phase in Phase:
        assert f"| `{phase.name}` |" in PAGE


def test_the_spans_are_those_of_the_default_lease():
    """The figures of the table of spans are computed, not remembered."""
    timing = Timing.of_lease(5)

    for span_s in (timing.renew_every_s, timing.request_s, timing.usable_s, timing.window_s):
        assert f"{span_s:g} s" in PAGE
