"""The frame of the benchmarks: what is said when a machine is too busy, of growth, and drawn."""

from __future__ import annotations

import types
from xml.etree import ElementTree as ET

import pytest

from bench import __main__ as bench
from bench import growth
from bench.flame_picture import COLOURS, Picture, Stacks
from bench.report import Report


def test_a_cluster_that_does_not_settle_is_reported_and_the_rest_is_measured(monkeypatch, capsys):
    """No traceback: it is not a defect, and the machine's load says why."""

    def imported(name):
        def run():
            if name == "bench.command":
                raise TimeoutError("waited 20 s for one active and warm standbys")
            return Report("Isolation", "python -m bench isolation")

        return types.SimpleNamespace(run=run)

    monkeypatch.setattr(bench.importlib, "import_module", imported)
    monkeypatch.setattr(bench.os, "getloadavg", lambda: (25.0, 20.0, 10.0))
    monkeypatch.setattr(bench.os, "sched_getaffinity", lambda _: {0, 1})

    assert bench.main(["command", "isolation"]) == 1

    output, errors = capsys.readouterr()
    assert "## Isolation" in output
    assert "NOT MEASURED: command: waited 20 s for one active and warm standbys" in errors
    assert "load 25.0 on 2 cores: too busy to measure" in errors


def test_what_grows_how_is_said_in_a_sentence():
    """And what is worse than linear stands out."""
    report = Report("Growth", "python -m bench growth")
    growth._judge(
        report,
        "keys",
        {
            "flat": [(10, 1.0), (100, 1.0)],
            "linear": [(10, 1.0), (100, 10.0)],
            "square": [(10, 1.0), (100, 100.0)],
            "one size": [(10, 1.0)],
        },
    )

    flat, linear, square = report.notes
    assert flat == "flat does not grow from 10 to 100 keys (1 to 1)"
    assert linear == "linear grows as keys^1.00 from 10 to 100 keys (1 to 10)"
    assert square.endswith("(1 to 100): WORSE THAN LINEAR")


RECORDED = """\
main (mgr/client/session.py);write (grpc/aio/_call.py) 60
main (mgr/client/session.py);<lambda> (mgr/client/<a>.py) 30
main (mgr/client/session.py) 10
"""


def test_a_flame_graph_shows_each_frame_as_wide_as_its_time():
    """With its share, in the colour of whose it is; markup in a name does no harm."""
    stacks = Stacks.parse(RECORDED)
    drawn = ET.fromstring(Picture("x", "What <was> sampled", stacks).text())

    boxes = {
        box[0].text: (float(box[1].get("width")), box[1].get("fill"))
        for box in drawn.iter("{http://www.w3.org/2000/svg}g")
    }
    write = boxes["write (grpc/aio/_call.py): 60.0 %"]
    half = boxes["<lambda> (mgr/client/<a>.py): 30.0 %"]
    assert write[0] == pytest.approx(2 * half[0], rel=0.01)
    assert (write[1], half[1]) == (COLOURS["grpc"], COLOURS["mgr"])


def test_what_was_not_recorded_is_not_drawn():
    """An empty recording is a mistake, not an empty picture."""
    with pytest.raises(ValueError, match="no stack was recorded"):
        Stacks.parse("")
