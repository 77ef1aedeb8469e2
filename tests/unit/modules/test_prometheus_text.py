"""The exporter's text: read with Prometheus' own client library, as whoever scrapes does."""

import math
import re
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from modules.prometheus.scrape import OWN_FAMILIES, ExportData, render
from modules.prometheus.text import Families


def column(path, start, width=1, **said):
    """One counter of ``get_counter_rows``."""
    return {
        "path": path,
        "kind": "gauge",
        "description": "",
        "unit": "",
        "priority": 5,
        "labels": {},
        "bounds": [],
        "start": start,
        "stop": start + width,
        **said,
    }


def entry(*columns, **rows):
    """One entry of ``get_counter_rows``; the daemons' names with ``_`` for dots."""
    return {
        "counters": list(columns),
        "rows": {name.replace("_", "."): array("d", [0.0, *row]) for name, row in rows.items()},
    }


def exported(*entries):
    """What the library reads out of them: by sample's name and labels."""
    families = Families()
    for each in entries:
        families.add(each)
    text = b"".join(families.texts()).decode()
    assert_valid(text)
    return read(text), families


def read(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\\n]|\\[\\"n])*"'
LINE = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]*\{{(?:{LABEL}(?:,|(?=\}})))*\}} \S+")


def assert_valid(text):
    """What the library lets pass and Prometheus does not: by the format's grammar."""
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            assert LINE.fullmatch(line), line
            labels = [found[1] for found in re.finditer(LABEL, line)]
            assert len(labels) == len(set(labels)), line


def test_each_kind_is_written_as_prometheus_has_it():
    """Gauges as they are, counters as totals, averages as sum and count, buckets cumulated."""
    samples, _ = exported(
        entry(
            column("rgw.open", 1),
            column("rgw.requests", 2, kind="counter"),
            column("rgw.wait", 3, 2, kind="average", unit="seconds"),
            column("rgw.size", 5, 4, kind="histogram", unit="bytes", bounds=[1.0, 4.0]),
            rgw_a=[7, 100, 2.5, 10, 1, 2, 3, 40],
        )
    )

    who = ("daemon", "rgw.a")
    assert samples == {
        ("rgw_open", who): 7,
        ("rgw_requests_total", who): 100,
        ("rgw_wait_seconds_sum", who): 2.5,
        ("rgw_wait_seconds_count", who): 10,
        ("rgw_size_bytes_bucket", who, ("le", "1.0")): 1,
        ("rgw_size_bytes_bucket", who, ("le", "4.0")): 3,
        ("rgw_size_bytes_bucket", who, ("le", "+Inf")): 6,
        ("rgw_size_bytes_sum", who): 40,
        ("rgw_size_bytes_count", who): 6,
    }


def test_a_unit_and_an_ending_are_not_repeated():
    """Whoever names his counters by Prometheus' customs keeps his names."""
    samples, _ = exported(
        entry(
            column("a.read_bytes", 1, unit="bytes"),
            column("a.sent_bytes_total", 2, kind="counter", unit="bytes"),
            column("9.lives-left", 3),
            x_y=[1, 2, 3],
        )
    )

    assert [name for name, _ in samples] == ["a_read_bytes", "a_sent_bytes_total", "_9_lives_left"]


def test_names_and_texts_of_daemons_cannot_break_a_line():
    """Quotes, backslashes and line ends are escaped; labels that are ours are renamed."""
    odd = 'a"b\\c\nd'
    samples, _ = exported(
        {
            **entry(
                column("a.x", 1, labels={"op": odd, "daemon": "mine", "le": "1", "p-q": ""}),
                column("a.y", 2, description=f"x {odd}"),
            ),
            "rows": {f"host.{odd}": array("d", [0, 1, 2])},
        }
    )

    assert samples == {
        (
            "a_x",
            ("daemon", f"host.{odd}"),
            ("exported_daemon", "mine"),
            ("exported_le", "1"),
            ("op", odd),
            ("p_q", ""),
        ): 1,
        ("a_y", ("daemon", f"host.{odd}")): 2,
    }


def test_daemons_of_several_schemas_stand_in_one_family():
    """The format wants all samples of a name together."""
    text = Families()
    text.add(entry(column("a.x", 1), h_a=[1]))
    text.add(entry(column("b.y", 1), column("a.x", 2), h_b=[5, 2]))

    lines = b"".join(text.texts()).decode().splitlines()

    assert [line for line in lines if line.startswith("# TYPE")] == [
        "# TYPE a_x gauge",
        "# TYPE b_y gauge",
    ]
    assert lines[2:4] == ['a_x{daemon="h.a"} 1.0', 'a_x{daemon="h.b"} 2.0']


def test_of_two_with_one_name_one_is_exported():
    """Of one daemon the first; of two kinds that which more daemons count."""
    samples, families = exported(
        entry(column("a.b_c", 1), column("a.b.c", 2), h_a=[1, 2]),
        entry(column("a.b_c", 1, 2, kind="average"), h_b=[3, 4], h_c=[3, 4]),
    )

    assert {name for name, _ in samples} == {"a_b_c_sum", "a_b_c_count"}
    assert {who for _, who in samples} == {("daemon", "h.b"), ("daemon", "h.c")}
    assert families.left_out == 2


def test_a_family_is_of_the_kind_that_daemons_of_its_type_count():
    """Others cannot take it from them, however many they are; nor one of its lines."""
    samples, families = exported(
        entry(
            column("rgw.wait", 1),
            column("rgw.read.sum", 2),
            column("rgw.wait_sum", 3),
            web_a=[1, 2, 3],
            web_b=[1, 2, 3],
        ),
        entry(column("rgw.wait", 1, 2, kind="average"), rgw_a=[3, 4]),
    )

    rgw, a, b = (("daemon", name) for name in ("rgw.a", "web.a", "web.b"))
    assert samples == {
        ("rgw_wait_sum", rgw): 3,
        ("rgw_wait_count", rgw): 4,
        ("rgw_read_sum", a): 2,
        ("rgw_read_sum", b): 2,
    }
    assert families.left_out == 4


@pytest.mark.parametrize(
    "labels", [{"a-b": "1", "a_b": "2"}, {"daemon": "1", "exported_daemon": "2"}]
)
def test_two_labels_that_get_one_name_cost_their_counter_and_nothing_else(labels):
    """Prometheus would refuse the whole text."""
    samples, families = exported(
        entry(column("a.x", 1, labels=labels), column("a.y", 2), h_a=[1, 2])
    )

    assert samples == {("a_y", ("daemon", "h.a")): 2}
    assert families.left_out == 1


def test_labels_that_mean_something_to_prometheus_are_renamed():
    """One without a name gets one; a quantile would have to be a number."""
    labels = {"": "x", "__name__": "y", "quantile": "z", "0": "w"}
    samples, _ = exported(entry(column("a.x", 1, 2, kind="average", labels=labels), h_a=[1, 2]))

    [(_, *found), _] = samples
    assert found == [
        ("daemon", "h.a"),
        ("exported_", "x"),
        ("exported_0", "w"),
        ("exported___name__", "y"),
        ("exported_quantile", "z"),
    ]


def source(*entries, **said):
    """What the module would read: two daemons of its own, and ``entries``."""
    known = {"type": "h", "hostname": "n", "version": "1"}
    return ExportData(
        **{
            "health": {"json": '{"status": "HEALTH_OK", "checks": {"X": {"severity": '
            '"HEALTH_WARN", "muted": false, "summary": {"count": 1}}}}'},
            "daemons": [
                {"name": "h.a", "state": "reporting", **known},
                {"name": "h.b", "state": "silent", **known},
            ],
            "metadata": {},
            "maps": {"racks": 3},
            "counters": entries,
            **said,
        }
    )  # fmt: skip


def test_what_the_exporter_says_itself_cannot_be_taken_by_a_daemon():
    """Neither forged, nor turned into another kind."""
    alone = read(b"".join(render(source())).decode())
    names = [name.removeprefix("mgr_") for name in OWN_FAMILIES]
    forged = [column(f"mgr.{name}", at, labels={"x": "y"}) for at, name in enumerate(names, 1)]
    turned = [column(f"mgr-{name}", 1, 2, kind="average") for name in names]

    text = b"".join(render(source(entry(*forged, mgr_a=range(9)), entry(*turned, h_b=[1, 2]))))

    found = read(text.decode())
    assert found.pop(("mgr_prometheus_left_out",)) == 2 * len(OWN_FAMILIES)
    del alone["mgr_prometheus_left_out",]
    assert found == alone
    assert {key[0] for key in alone} | {"mgr_prometheus_left_out"} == OWN_FAMILIES


def test_metadata_of_names_that_become_one_are_shown_once():
    """An operator who asks for both shall not lose the scrape."""
    metadata = {"h.a": {"metadata_a-b": "1", "metadata_a_b": "2"}}
    samples = read(b"".join(render(source(metadata=metadata))).decode())

    [info] = [key for key in samples if key[0] == "mgr_daemon_info" and ("daemon", "h.a") in key]
    assert [value for name, value in info[1:] if name == "metadata_a_b"] == ["1"]


HONEST = entry(
    column("rgw.open", 1),
    column("rgw.requests", 2, kind="counter", labels={"op": "get"}),
    column("rgw.wait", 3, 2, kind="average", unit="seconds"),
    column("rgw.size", 5, 4, kind="histogram", unit="bytes", bounds=[1.0, 4.0]),
    rgw_a=[7, 100, 2.5, 10, 1, 2, 3, 40],
    rgw_b=[8, 101, 2.5, 10, 1, 2, 3, 40],
)
WIDTHS = {"gauge": 1, "counter": 1, "average": 2, "histogram": 3}
words = st.text(max_size=4) | st.sampled_from(
    ["a-b", "a_b", "daemon", "exported_daemon", "le", "quantile", "__name__", "op"]
)
paths = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["rgw", "mgr", "web"]),
    st.sampled_from([".", "_", "-"]),
    st.text(max_size=3)
    | st.sampled_from(
        ["open", "requests", "wait_seconds", "size_bytes", "daemon_up", "map.version"]
    ),
    st.sampled_from(["", "_sum", "_count", "_bucket", "_total"]),
)


@st.composite
def entries(draw):
    """What daemons of one type, which is none of the honest ones', may have declared."""
    counters, start = [], 1
    for path in draw(st.lists(paths, max_size=6)):
        kind = draw(st.sampled_from(sorted(WIDTHS)))
        said = {
            "labels": draw(st.dictionaries(words, words, max_size=3)),
            "unit": draw(st.sampled_from(["", "bytes", "seconds"])),
            "description": draw(words),
            "bounds": [1.0] if kind == "histogram" else [],
        }
        counters.append(column(path, start, WIDTHS[kind], kind=kind, **said))
        start += WIDTHS[kind]
    rows = draw(st.dictionaries(words.map("web.{}".format), st.just(None), max_size=3))
    return {"counters": counters, "rows": {name: array("d", range(start)) for name in rows}}


@settings(deadline=None, max_examples=300)
@given(st.lists(entries(), max_size=4), st.integers(0, 4))
def test_no_daemon_costs_others_their_lines(others, place):
    """Whatever they declare: the text can be read, no sample comes twice, the honest are there."""
    seen = set()
    for at, each in enumerate(others):
        each["rows"] = {f"{name}{at}": row for name, row in each["rows"].items()}
    honest, _ = exported(HONEST)
    own = read(b"".join(render(source())).decode())
    del own["mgr_prometheus_left_out",]

    text = b"".join(render(source(*others[:place], HONEST, *others[place:]))).decode()

    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in seen
            seen.add(key)
    types = [line.split(" ")[2] for line in text.split("\n") if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))
    assert_valid(text)
    samples = read(text)
    assert honest.items() <= samples.items()
    assert own.items() <= samples.items()
    assert {key for key in samples if key[0] in OWN_FAMILIES} == {
        *own,
        ("mgr_prometheus_left_out",),
    }


def test_numbers_that_are_none_are_written_as_prometheus_reads_them():
    """Only gauges have them."""
    samples, _ = exported(entry(column("a.x", 1), h_a=[math.inf], h_b=[-math.inf], h_c=[math.nan]))

    assert samples["a_x", ("daemon", "h.a")] == math.inf
    assert samples["a_x", ("daemon", "h.b")] == -math.inf
    assert math.isnan(samples["a_x", ("daemon", "h.c")])
