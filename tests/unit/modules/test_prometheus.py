"""The exporter: scraped over HTTP, as Prometheus does."""

import http.client
import json
import threading
from contextlib import contextmanager

import pytest

from modules.prometheus.module import Module
from modules.prometheus.scrape import ScrapeCache, Stale
from tests.unit.modules.test_prometheus_text import read

COUNTER = 8


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

    def noted(host, port, *, ready, **more):
        def tell(number):
            ports.append(number)
            ready(number)
            bound.set()

        run(host, port, ready=tell, **more)

    page.run = noted
    with mgr_host.serving(module):
        assert bound.wait(10)
        yield ports[0]


@pytest.fixture
def loaded(mgr_host):
    mgr_host.load(Module, options={"server_port": 0})
    return mgr_host


def test_a_scrape_shows_daemons_counters_health_and_maps(loaded):
    """Under the address that is published."""
    fleet = loaded.context.fleet
    fleet.add("rgw.a", "h1", ceph_version="1.2", zone="eu")
    fleet.add("rgw.b", "h2")
    fleet.set_state("rgw.b", "silent")
    fleet.declare("rgw.a", "rgw.requests", type=COUNTER, description="Served")
    fleet.count("rgw.a", "rgw.requests", 1.0, 5.0)
    fleet.declare("rgw.b", "rgw.requests", type=COUNTER)
    fleet.count("rgw.b", "rgw.requests", 1.0, 5.0)
    fleet.declare("rgw.a", "rgw.debug", priority=0)
    fleet.count("rgw.a", "rgw.debug", 1.0, 5.0)
    version = loaded.publish("racks", {})
    loaded.set_option("metadata_labels", "zone, rack no")
    loaded.module.set_health_checks({"ODD": {"severity": "warning", "summary": "x", "count": 3}})

    with answering(loaded) as port:
        status, headers, text = ask(port)
        loaded.wait_until(lambda: loaded.uri)

    samples = read(text)
    a, b = ("daemon", "rgw.a"), ("daemon", "rgw.b")
    assert (status, headers["Content-Type"][:10]) == (200, "text/plain")
    assert samples["rgw_requests_total", a] == 5
    assert ("rgw_requests_total", b) not in samples, "it is silent"
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
        loaded.wait_until(lambda: "rgw.a" in ask(port)[2])

    assert before == again


def test_there_is_a_front_page_and_nothing_else(loaded):
    """A HEAD is answered like a GET, without its body."""
    with answering(loaded) as port:
        assert '<a href="/metrics">' in ask(port, "/")[2]
        assert "MGR_UNPROTECTED" not in ask(port, "/")[2]
        loaded.context.native["mgr_unprotected"] = "grpc_listen"
        assert "MGR_UNPROTECTED" in ask(port, "/")[2]
        assert ask(port, "/other")[0] == 404
        assert ask(port, "/metrics?x=1", "HEAD")[::2] == (200, "")


@pytest.mark.parametrize(
    ("behaviour", "path", "status", "location"),
    [
        ("default", "/metrics", 200, None),
        ("default", "/", 200, None),
        ("redirect", "/", 307, "http://10.0.0.1:9283/"),
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
    standby = loaded.standby()
    standby._context.native["mgr_unprotected"] = "http_listen"

    with answering(loaded, standby) as port:
        got, headers, text = ask(port, path)

    assert (got, headers["Location"]) == (status, location)
    if path == "/metrics" and behaviour == "default":
        assert text == ""
    if path == "/" and behaviour == "default":
        assert '<a href="http://10.0.0.1:9283/metrics">' in text, "the active's"
        assert "MGR_UNPROTECTED" in text


def test_prometheus_can_list_every_exporter(loaded):
    """In the form of ``file_sd_configs``; each manager may have a port of its own."""
    loaded.context.fleet.add("mgr.b", "h2")
    loaded.context.fleet.add("rgw.a", "h3")
    loaded.set_option("server_port", 9000)
    loaded.context.set_option("prometheus", "b/server_port", "9001")

    answer = loaded.run("prometheus file_sd_config")

    assert json.loads(answer.stdout) == [{"targets": ["h2:9001", "host:9000"], "labels": {}}]


def test_a_standby_that_knows_no_active_sends_nobody_anywhere(loaded):
    """503, to be asked again."""
    loaded.set_option("standby_behaviour", "redirect")

    with answering(loaded, loaded.standby()) as port:
        status, headers, _ = ask(port)

    assert (status, headers["Retry-After"]) == (503, "1")


def test_while_a_text_is_made_others_get_the_last_one_or_an_error():
    """By choice; the first of all is waited for."""
    begun, goes_on, texts = threading.Event(), threading.Event(), iter([b"1", b"2"])

    def collect():
        text = next(texts)
        if text == b"2":
            begun.set()
            goes_on.wait(10)
        return [text]

    scrapes = ScrapeCache(collect)
    first = scrapes.read(0.0, allow_stale=True)
    thread = threading.Thread(target=scrapes.read, args=(1e-9,), kwargs={"allow_stale": True})
    thread.start()
    try:
        assert begun.wait(10)
        meanwhile = scrapes.read(1e-9, allow_stale=True)
        with pytest.raises(Stale):
            scrapes.read(1e-9, allow_stale=False)
    finally:
        goes_on.set()
        thread.join(10)

    assert (first, meanwhile, scrapes.read(60, allow_stale=False)) == ([b"1"], [b"1"], [b"2"])
