"""Logs in to etcd, once for all requests of a channel.

A login has a time limit of its own, because it costs etcd a password hash and a write: it goes on
when the request that needed it gives up, and the next request uses its token. After a refusal the
next login waits, at first ``PAUSE_S``, then twice as long each time. The password file is read
before each login, so a new password is used without a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mgr.clock import Clock, timestamp
from mgr.errors import MgrError, StoreUnavailableError
from mgr.retry_log import RetryLog
from mgr.store.error_classes import unanswered_error

LOGIN_S: Final = 30.0
"""Time limit of one login with all its attempts."""
PAUSE_S: Final = 0.5
PAUSE_S_MAX: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EtcdLogin:
    """User name and password for etcd's authentication; ``file`` is where the password stands."""

    user: str
    password: str = field(repr=False)
    file: str = ""

    def read_password(self) -> str:
        """Return the password in ``file`` now; the one given if there is no file to be read."""
        try:
            return Path(self.file).read_text(encoding="utf-8").strip() if self.file else ""
        except (OSError, UnicodeDecodeError) as error:
            fields = {"file": self.file, "error": str(error)}
            log.warning("etcd password file not readable: the last password is used", extra=fields)
            return ""


class LoginSession:
    """The token of one channel. Used on one event loop."""

    def __init__(
        self,
        login: EtcdLogin,
        authenticate: Callable[[str, str], Awaitable[str]],
        clock: Clock,
    ) -> None:
        """Get tokens from ``authenticate(user, password)``; nothing is sent yet."""
        self.token: str | None = None
        """The token; empty if authentication is off in etcd; None before the first login."""
        self._login = login
        self._password = login.password
        self._authenticate = authenticate
        self._clock = clock
        self._task: asyncio.Task[str | None] | None = None
        self._failure: MgrError | None = None
        self._pause_s = PAUSE_S
        self._not_before_s = 0.0
        self._retry_log: RetryLog | None = None

    async def get(self, purpose: str, ends_at: float) -> str:
        """Return a token; waits for a login until ``ends_at``, in the loop's time.

        Raises:
            StoreUnavailableError: The login takes longer than that; it goes on.
            MgrError: The last login failed, by its kind; the next one is not due yet.

        """
        if self.token is not None:
            return self.token
        if self._task is None:
            if self._failure is not None and self._clock.now() < self._not_before_s:
                raise self._failure_of(purpose, self._failure)
            # It outlives the request; ``close`` ends it, and it never raises.
            self._task = asyncio.create_task(self._log_in())  # noqa: TID251
        task = self._task
        left_s = max(0.0, ends_at - asyncio.get_running_loop().time())
        await asyncio.wait({task}, timeout=left_s)
        if not task.done() or task.cancelled():
            raise unanswered_error(purpose, "still waiting for the login", maybe_done=False)
        if (token := task.result()) is None:
            raise self._failure_of(purpose, self._failure)
        return token

    def forget(self, token: str) -> None:
        """Log in before the next request, unless that was done since ``token`` was used."""
        # An empty token means that authentication was off; it may have been switched on since.
        if self.token == token:
            self.token = None

    def close(self) -> None:
        """Cancel a login that is under way."""
        if self._task is not None:
            self._task.cancel()

    async def _log_in(self) -> str | None:
        """Return the new token; None if the login failed."""
        try:
            # In a thread: a network file system may take seconds.
            self._password = await asyncio.to_thread(self._login.read_password) or self._password
            token = self.token = await self._authenticate(self._login.user, self._password)
        except MgrError as error:
            self._on_failure(error)
            return None
        finally:
            self._task = None
        self._failure, self._pause_s = None, PAUSE_S
        if self._retry_log is not None:
            now_s = self._clock.now()
            self._retry_log.recovered(now_s, "login to etcd works again", level=logging.INFO)
            self._retry_log = None
        return token

    def _on_failure(self, error: MgrError) -> None:
        now_s = self._clock.now()
        self._failure = error
        if isinstance(error, StoreUnavailableError):
            self._not_before_s = now_s  # it has waited long enough for an answer
        else:
            self._not_before_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
        if self._retry_log is None:
            self._retry_log = RetryLog(log, now_s, since=timestamp(), user=self._login.user)
        self._retry_log.failing(
            now_s, "login to etcd fails, retrying", kind=type(error).__name__, error=str(error)
        )

    @staticmethod
    def _failure_of(purpose: str, failure: MgrError | None) -> MgrError:
        """Return the failure of a login for one of the requests that needed it."""
        if failure is None:
            return unanswered_error(purpose, "the login ended early", maybe_done=False)
        return type(failure)(f"{purpose}: {failure}")
