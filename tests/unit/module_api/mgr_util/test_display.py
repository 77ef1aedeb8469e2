"""Numbers, spans, addresses and rates for modules that show them."""

import itertools
import logging
import socket
import threading
from datetime import timedelta

import pytest

from mgr.module_api.mgr_util.address import PortAlreadyInUse, build_url, get_default_addr
from mgr.module_api.mgr_util.address import test_port_allocation as check_port
from mgr.module_api.mgr_util.config_section import merge_dicts, name_to_config_section
from mgr.module_api.mgr_util.display import (
    RED,
    bold,
    colorize,
    format_bytes,
    format_dimless,
    format_units,
    to_pretty_timedelta,
)
from mgr.module_api.mgr_util.rate import get_most_recent_rate, get_time_series_rates
from mgr.module_api.mgr_util.timer import RTimer, profile_method


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "   0 "), (999, " 999 "), (12345, "12.3k"), (1234567, "1234k"), (10**19, "10.0E")],
)
def test_a_count_fits_its_column(number, shown):
    """Thousands; the last character is the unit."""
    assert format_dimless(number, 5) == shown


def test_bytes_are_counted_in_1024s():
    """A point at the end of a number says nothing."""
    assert format_bytes(2**20, 4) == "1.0M"
    assert format_bytes(100 * 2**20, 5) == " 100M"


def test_a_number_can_be_coloured():
    """The number and its unit, each in bold."""
    coloured = format_units(1, 3, colored=True, decimal=True)

    assert coloured == bold(colorize(" 1", 3)) + bold(colorize(" ", 3))
    assert colorize("x", RED) == "\033[1;31mx\033[0m"
    assert colorize("x", RED, dark=True) == "\033[0;31mx\033[0m"


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (timedelta(seconds=119), "119s"),
        (timedelta(seconds=120), "2m"),
        (timedelta(hours=2), "2h"),
        (timedelta(days=2), "2d"),
        (timedelta(weeks=2), "2w"),
        (timedelta(weeks=12), "2M"),
        (timedelta(days=731), "2y"),
    ],
)
def test_a_span_is_one_number_and_a_unit(span, shown):
    """Rounded down."""
    assert to_pretty_timedelta(span) == shown


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ({"host": "example.com", "scheme": "https", "port": 443}, "https://example.com:443"),
        ({"host": "example.com", "port": 443}, "//example.com:443"),
        ({"host": "::1", "scheme": "http", "port": 80}, "http://[::1]:80"),
        ({"host": "h", "scheme": "http", "path": "/a"}, "http://h/a"),
    ],
)
def test_an_address_becomes_a_url(arguments, url):
    """IPv6 gets its brackets."""
    assert build_url(**arguments) == url


def test_a_taken_port_differs_from_one_that_cannot_be_used():
    """The first is a matter of configuration."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortAlreadyInUse):
            check_port("127.0.0.1", taken.getsockname()[1])
    check_port("127.0.0.1", 0)
    with pytest.raises(OSError, match="assign"):
        check_port("203.0.113.1", 0)


def test_every_interface_has_a_name():
    """Whether or not the host has IPv6."""
    assert get_default_addr() in {"::", "0.0.0.0"}


def test_rates_are_changes_per_second():
    """Two samples of one moment count as the later; a single one has no rate."""
    assert get_time_series_rates([]) == []
    assert get_time_series_rates([(1, 42)]) == [(1, 0.0)]
    assert get_time_series_rates([(0, 1), (1, 3), (3, 4)]) == [(1, 2.0), (3, 0.5)]
    assert get_time_series_rates([(0, 1), (1, 2), (1, 3)]) == [(1, 2.0)]


def test_the_most_recent_rate_is_the_last():
    """Nothing measured is no rate."""
    assert get_most_recent_rate([(1, 2.0), (3, 5.0)]) == 5.0
    assert get_most_recent_rate([]) == get_most_recent_rate(None) == 0.0


@pytest.mark.parametrize(
    ("name", "section"),
    [("rgw.a", "client.rgw.a"), ("osd.1", "osd.1"), ("client.x", "client.x"), ("what", "mon")],
)
def test_a_daemon_has_a_section(name, section):
    """Gateways are clients."""
    assert name_to_config_section(name) == section


def test_dictionaries_are_laid_over_each_other():
    """Later ones win; none is changed."""
    first = {"a": 1, "b": 1}

    assert merge_dicts(first, {"b": 2}, {}) == {"a": 1, "b": 2}
    assert first == {"a": 1, "b": 1}


def test_a_recurring_timer_goes_off_until_it_is_cancelled():
    """Every interval, counted by hand here."""
    enough = threading.Event()
    count = itertools.count()
    timer = RTimer(0, lambda: next(count) >= 2 and enough.set())

    timer.start()
    assert enough.wait(5)
    timer.cancel()
    timer.join(5)

    assert not timer.is_alive()


def test_a_method_can_be_timed(caplog):
    """In the module's log, at debug level."""

    class Module:
        log = logging.getLogger("timed")

        @profile_method()
        def work(self, a):
            return a

    with caplog.at_level(logging.DEBUG, "timed"):
        assert Module().work(3) == 3

    assert Module.work._execution_duration >= 0
    assert "Method work ran" in caplog.text
