"""One login for all requests of a channel: slow, refused, with a password that was changed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from mgr.errors import AccessDeniedError, StoreUnavailableError
from mgr.store.login import PAUSE_S_MAX, EtcdLogin, LoginSession
from tests.support.clock import ManualClock

LIMIT_S = 5


class Etcd:
    """Answers logins: at once, or after ``go``; refuses every password but ``right``."""

    def __init__(self, right="secret"):
        self.right = right
        self.passwords = []
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def authenticate(self, user, password):
        self.passwords.append(password)
        self.asked.set()
        await self.go.wait()
        if password != self.right:
            raise AccessDeniedError(f"log in as {user!r}: authentication failed")
        return f"token-{len(self.passwords)}"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def etcd():
    return Etcd()


def session(etcd, clock, **login):
    return LoginSession(EtcdLogin("u", "secret", **login), etcd.authenticate, clock)


def soon(seconds=LIMIT_S):
    return asyncio.get_running_loop().time() + seconds


async def test_a_slow_login_goes_on_when_the_request_gives_up(etcd, clock):
    """A request may have half a second and a login take two: it is not begun again each time."""
    etcd.go.clear()
    login = session(etcd, clock)
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match=r"get 'k'.*still waiting for the login"):
            await login.get("get 'k'", soon(0.02))

    etcd.go.set()

    assert await login.get("get 'k'", soon()) == "token-1"
    assert len(etcd.passwords) == 1


async def test_many_requests_share_one_login(etcd, clock):
    """Also those that come while it runs."""
    login = session(etcd, clock)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(login.get("get", soon())) for _ in range(20)]
    assert {task.result() for task in tasks} == {"token-1"}


async def test_a_refused_login_is_logged_once_and_repeated_ever_more_seldom(etcd, clock, caplog):
    """Requests in between fail at once, with the reason, and send nothing."""
    caplog.set_level(logging.INFO)
    etcd.right = "another"
    login = session(etcd, clock)
    for _ in range(100):
        with pytest.raises(AccessDeniedError, match="get 'k': log in as 'u'"):
            await login.get("get 'k'", soon())
        clock.advance(0.1)

    assert 4 <= len(etcd.passwords) <= 6  # at 0, 0.5, 1.5, 3.5, 7.5 s
    lines = [r for r in caplog.records if r.message == "login to etcd fails, retrying"]
    assert 1 <= len(lines) <= 2
    assert "authentication failed" in lines[0].error

    etcd.right = "secret"
    clock.advance(PAUSE_S_MAX)
    assert await login.get("get 'k'", soon())
    assert caplog.records[-1].message == "login to etcd works again"
    assert "secret" not in caplog.text


async def test_a_password_that_was_changed_in_its_file_is_used(etcd, clock, tmp_path):
    """The file first, then etcd: the next login has the new one."""
    file = tmp_path / "password"
    file.write_text("secret\n")
    login = session(etcd, clock, file=str(file))
    first = await login.get("get", soon())

    file.write_text("new\n")
    etcd.right = "new"
    login.forget(first)

    assert await login.get("get", soon()) == "token-2"
    assert etcd.passwords == ["secret", "new"]


async def test_the_last_password_is_used_while_its_file_is_away(etcd, clock, tmp_path, caplog):
    """It may be replaced right now."""
    login = session(etcd, clock, file=str(tmp_path / "none"))

    assert await login.get("get", soon()) == "token-1"
    assert etcd.passwords == ["secret"]
    assert "etcd password file not readable" in caplog.text


async def test_a_token_is_forgotten_once(etcd, clock):
    """A late answer about an older token does not end the new one."""
    login = session(etcd, clock)
    first = await login.get("get", soon())
    login.forget(first)
    second = await login.get("get", soon())

    login.forget(first)

    assert await login.get("get", soon()) == second


async def test_a_closed_session_leaves_no_login_behind(etcd, clock):
    """The request that waits for it is answered."""
    etcd.go.clear()
    login = session(etcd, clock)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(refused(login))
        await etcd.asked.wait()
        login.close()
    assert "login" in str(waiting.result())


async def refused(login):
    with pytest.raises(StoreUnavailableError) as error:
        await login.get("get", soon())
    return error.value
