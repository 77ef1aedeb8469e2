"""The exporter: read with Prometheus' own client library, as whoever scrapes does."""

import http.client
import math
import threading
from array import array
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mgr_util import ServerConfigException
from modules.prometheus.module import Module
from modules.prometheus.page import Page, plain
from modules.prometheus.scrape import Scrapes, Stale
from modules.prometheus.text import Families

COUNTER, AVERAGE, HISTOGRAM = 8, 4, 16


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
    return read(b"".join(families.texts()).decode()), families


def read(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ask(port, path="/metrics", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


@contextmanager
def answering(mgr_host, module=None):
    """The module serves; its port."""
    ports, page = [], (module or mgr_host.module)._page
    run, bound = page.run, threading.Event()

    def noted(host, port, *, ready):
        def tell(number):
            ports.append(number)
            ready(number)
            bound.set()

        run(host, port, ready=tell)

    page.run = noted
    with mgr_host.serving(module):
        assert bound.wait(10)
        yield ports[0]


@pytest.fixture
def loaded(mgr_host):
    mgr_host.load(Module, options={"server_port": 0})
    return mgr_host


# -- the text --------------------------------------------------------------------------------


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


def test_a_unit_and_an_ending_are_not_said_twice():
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


def test_of_two_with_one_name_the_first_is_exported():
    """Twice the same sample, or one of another kind, would cost the whole scrape."""
    samples, families = exported(
        entry(column("a.b_c", 1), column("a.b.c", 2), h_a=[1, 2]),
        entry(column("a.b_c", 1, 2, kind="average"), h_b=[3, 4], h_c=[3, 4]),
    )

    assert samples == {("a_b_c", ("daemon", "h.a")): 1}
    assert families.left_out == 3


def test_numbers_that_are_none_are_written_as_prometheus_reads_them():
    """Only gauges have them."""
    samples, _ = exported(entry(column("a.x", 1), h_a=[math.inf], h_b=[-math.inf], h_c=[math.nan]))

    assert samples["a_x", ("daemon", "h.a")] == math.inf
    assert samples["a_x", ("daemon", "h.b")] == -math.inf
    assert math.isnan(samples["a_x", ("daemon", "h.c")])


# -- the module ------------------------------------------------------------------------------


def test_a_scrape_shows_daemons_counters_health_and_maps(loaded):
    """Under the address that is published."""
    fleet = loaded.context.fleet
    fleet.add("rgw.a", "h1", ceph_version="1.2", zone="eu")
    fleet.add("rgw.b", "h2")
    fleet.set_state("rgw.b", "silent")
    fleet.declare("rgw.a", "rgw.requests", type=COUNTER, description="Served")
    fleet.count("rgw.a", "rgw.requests", 1.0, 5.0)
    fleet.declare("rgw.a", "rgw.debug", priority=0)
    fleet.count("rgw.a", "rgw.debug", 1.0, 5.0)
    version = loaded.publish("racks", {})
    loaded.set_option("metadata_labels", "zone, rack no")
    loaded.module.set_health_checks({"ODD": {"severity": "warning", "summary": "x", "count": 3}})

    with answering(loaded) as port:
        status, headers, text = ask(port)
        loaded.until(lambda: loaded.uri)

    samples = read(text)
    a, b = ("daemon", "rgw.a"), ("daemon", "rgw.b")
    assert (status, headers["Content-Type"][:10]) == (200, "text/plain")
    assert samples["rgw_requests_total", a] == 5
    assert samples["mgr_health_status",] == 1
    assert (
        samples["mgr_health_check", ("code", "ODD"), ("muted", "false"), ("severity", "warn")] == 3
    )
    assert samples["mgr_daemon_up", a, ("hostname", "h1"), ("type", "rgw")] == 1
    assert samples["mgr_daemon_up", b, ("hostname", "h2"), ("type", "rgw")] == 0
    assert samples["mgr_map_version", ("map", "racks")] == version
    assert samples["mgr_prometheus_left_out",] == 0
    [info] = [each for each in samples if each[0] == "mgr_daemon_info" and a in each]
    assert ("metadata_zone", "eu") in info
    assert ("metadata_rack_no", "") in info
    assert loaded.uri == f"http://127.0.0.1:{port}/"
    assert not any("debug" in each[0] for each in samples)


def test_counters_can_be_left_to_others(loaded):
    """As with ceph-mgr beside ceph-exporter; and those for debugging can be had."""
    fleet = loaded.context.fleet
    fleet.add("rgw.a")
    fleet.declare("rgw.a", "rgw.debug", priority=0)
    fleet.count("rgw.a", "rgw.debug", 1.0, 5.0)
    loaded.set_option("cache", "false")

    with answering(loaded) as port:
        loaded.set_option("stats_threshold", "0")
        everything = ask(port)[2]
        loaded.set_option("exclude_perf_counters", "true")
        nothing = ask(port)[2]

    assert "rgw_debug" in everything
    assert "rgw_debug" not in nothing
    assert "mgr_daemon_up" in nothing


def test_a_text_is_answered_again_for_an_interval(loaded):
    """However many scrape: the fleet is read once."""
    with answering(loaded) as port:
        before = ask(port)[2]
        loaded.context.fleet.add("rgw.a")
        again = ask(port)[2]
        loaded.set_option("scrape_interval", "0.1")
        loaded.until(lambda: "rgw.a" in ask(port)[2])

    assert before == again


def test_there_is_a_front_page_and_nothing_else(loaded):
    """A HEAD is answered like a GET, without its body."""
    with answering(loaded) as port:
        assert '<a href="/metrics">' in ask(port, "/")[2]
        assert ask(port, "/other")[0] == 404
        assert ask(port, "/metrics?x=1", "HEAD")[::2] == (200, "")


@pytest.mark.parametrize(
    ("behaviour", "path", "status", "location"),
    [
        ("default", "/metrics", 200, None),
        ("default", "/", 307, "http://10.0.0.1:9283/"),
        ("redirect", "/metrics", 307, "http://10.0.0.1:9283/metrics"),
        ("error", "/metrics", 418, None),
        ("error", "/", 418, None),
        ("default", "/other", 404, None),
    ],
)
def test_a_standby_answers_as_configured(loaded, behaviour, path, status, location):
    """Empty, where the active is, or an error: a scrape of every manager counts nothing twice."""
    loaded.set_option("standby_behaviour", behaviour)
    loaded.set_option("standby_error_status_code", 418)
    loaded.context.uri = "http://10.0.0.1:9283/"

    with answering(loaded, loaded.standby()) as port:
        got, headers, text = ask(port, path)

    assert (got, headers["Location"]) == (status, location)
    if path == "/metrics" and behaviour == "default":
        assert text == ""


def test_a_standby_that_knows_no_active_sends_nobody_anywhere(loaded):
    """503, to be asked again."""
    loaded.set_option("standby_behaviour", "redirect")

    with answering(loaded, loaded.standby()) as port:
        status, headers, _ = ask(port)

    assert (status, headers["Retry-After"]) == (503, "1")


def test_a_port_that_is_taken_is_an_error_that_names_it():
    """The module is reported, and started anew."""
    first, ports, bound = Page(lambda _: plain(200, "")), [], threading.Event()
    thread = threading.Thread(
        target=lambda: first.run(
            "127.0.0.1", 0, ready=lambda port: (ports.append(port), bound.set())
        )
    )
    thread.start()
    try:
        assert bound.wait(10)
        with pytest.raises(ServerConfigException, match=f"127.0.0.1 port {ports[0]}"):
            Page(lambda _: plain(200, "")).run("127.0.0.1", ports[0], ready=print)
    finally:
        first.close()
        thread.join(10)


def test_while_a_text_is_made_others_get_the_last_one_or_an_error():
    """By choice; the first of all is waited for."""
    begun, goes_on, texts = threading.Event(), threading.Event(), iter([b"1", b"2"])

    def collect():
        text = next(texts)
        if text == b"2":
            begun.set()
            goes_on.wait(10)
        return [text]

    scrapes = Scrapes(collect)
    first = scrapes.read(0.0, old_will_do=True)
    thread = threading.Thread(target=scrapes.read, args=(1e-9,), kwargs={"old_will_do": True})
    thread.start()
    try:
        assert begun.wait(10)
        meanwhile = scrapes.read(1e-9, old_will_do=True)
        with pytest.raises(Stale):
            scrapes.read(1e-9, old_will_do=False)
    finally:
        goes_on.set()
        thread.join(10)

    assert (first, meanwhile, scrapes.read(60, old_will_do=False)) == ([b"1"], [b"1"], [b"2"])
