"""Which other managers a page of the dashboard may ask who leads."""

from __future__ import annotations

import asyncio
import errno
import json
import re

import httpx
import pytest

from modules.dashboard import peers
from modules.dashboard.application import Dashboard
from tests.support import dashboard


@pytest.fixture
def host(mgr_host):
    mgr_host.load("modules.dashboard")
    dashboard.answer(mgr_host)
    return mgr_host


async def permitted(host):
    """Whom a page of a manager that has just become active may ask."""
    board = Dashboard(host.module, scheme="http", port_default=7490)
    transport = httpx.ASGITransport(board.application(asyncio.Event()), client=("127.0.0.1", 5555))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7490") as client:
        policy = (await client.get("/")).headers["content-security-policy"]
    return set(re.search("connect-src 'self'([^;]*)", policy)[1].split())


async def test_a_page_may_ask_the_other_managers_and_nobody_else(host):
    """Their addresses: the published host, and the port of the option."""
    assert await permitted(host) == {"http://10.0.0.2:7490", "http://10.0.0.3:7490"}


async def test_a_page_loaded_in_a_failover_may_ask_the_manager_that_led_before(host):
    """It starts again just then, so it is not listed; soon it may lead again."""
    both = {"http://10.0.0.2:7490", "http://10.0.0.3:7490"}
    assert await permitted(host) == both
    host.answer(
        "mgr metadata", stdout=json.dumps([dashboard.manager("a", 1), dashboard.manager("b", 2)])
    )

    assert await permitted(host) == both


async def test_without_an_answer_a_page_may_ask_whom_an_earlier_term_knew(host, monkeypatch):
    """However long etcd is silent: a page must not be left alone then."""
    known = await permitted(host)
    host.answer("mgr metadata", -errno.EIO, stderr="etcd does not answer")
    later = peers._now() + peers.KEPT_S + 1
    monkeypatch.setattr(peers, "_now", lambda: later)

    assert await permitted(host) == known


async def test_a_manager_that_was_removed_is_not_asked_for_ever(host, monkeypatch):
    """Another machine may have its address by then, and would be given the session."""
    await permitted(host)
    host.answer(
        "mgr metadata", stdout=json.dumps([dashboard.manager("a", 1), dashboard.manager("b", 2)])
    )
    later = peers._now() + peers.KEPT_S + 1
    monkeypatch.setattr(peers, "_now", lambda: later)

    assert await permitted(host) == {"http://10.0.0.2:7490"}


@pytest.mark.parametrize(
    "stored",
    [
        *("", "[]", "{", '{"b": 1}', '{"b": ["http://x", "y"]}', "[" * 60_000),
        '{"z": ["http://x; script-src *", 9e9]}',
        '{"z": ["http://x\\r\\nSet-Cookie: y", 9e9]}',
        f'{{"z": ["http://x", {"9" * 400}]}}',
    ],
)
async def test_stored_managers_that_cannot_be_read_are_none(host, stored):
    """Somebody may have written the key by hand."""
    host.module.set_store("peers", stored)

    assert await permitted(host) == {"http://10.0.0.2:7490", "http://10.0.0.3:7490"}


async def test_a_clock_that_was_wrong_keeps_no_manager_for_ever(host, monkeypatch):
    """What is stored is not newer than now."""
    host.module.set_store("peers", json.dumps({"z": ["http://10.0.0.9:7490", 9e12]}))
    assert "http://10.0.0.9:7490" in await permitted(host)
    later = peers._now() + peers.KEPT_S + 1
    monkeypatch.setattr(peers, "_now", lambda: later)

    assert "http://10.0.0.9:7490" not in await permitted(host)
