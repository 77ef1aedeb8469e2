"""Tests of the module, with no cluster: the fixture ``mgr_host`` comes with the manager."""

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture
def host(mgr_host: Any) -> Any:
    """A manager that runs the module."""
    mgr_host.load(FOLDER)
    return mgr_host


def names(host: Any) -> Any:
    """Return what the command lists."""
    return json.loads(host.run("example ls").stdout)


def test_names_are_kept_by_the_next_manager(host: Any) -> None:
    """They are stored, not only remembered."""
    host.run("example add Ann")
    host.run("example add Bob")
    assert names(host) == ["Ann", "Bob"]

    host.fail_over()

    assert host.run("example rm Ann").retval == 0
    assert host.run("example rm Cid").stderr == "there is no name 'Cid'"
    assert names(host) == ["Bob"]


def test_too_many_names_are_a_warning(host: Any) -> None:
    """As soon as the option is changed, too."""
    host.run("example add Ann")
    assert host.health == {}

    host.set_option("limit", 0)

    assert host.health["EXAMPLE_TOO_MANY"]["summary"] == "1 names, more than 0"


def test_the_page_shows_the_names_and_a_standby_redirects_to_it(host: Any) -> None:
    """On ports of their own."""
    host.run("example add Ann")
    with host.serving():
        host.wait_until(lambda: host.uri)
        with urlopen(host.uri, timeout=10) as answer:
            assert "<li>Ann</li>" in answer.read().decode()
        assert host.standby().redirect("/").headers["Location"] == host.uri
