"""Gives a module its own SQLite database, which is stored and moves with the active manager."""

from __future__ import annotations

import errno
import functools
import inspect
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TypeVar

from mgr.errors import OutcomeUnknownError, StoreUnavailableError
from mgr.module_api.context import ModuleContext
from mgr.module_api.declared import ModuleBase
from mgr.module_api.parts.sqlite import IMAGE_BYTES_MAX, PAGE_BYTES, Connection, connect

MAX_DBCLEANUP_RETRIES: Final = 3
KILLED: Final = 120
"""Exit status at a kill point (option ``sqlite3_killpoint``)."""

F = TypeVar("F", bound=Callable[..., Any])


class MgrDBNotReady(RuntimeError):  # noqa: N818 - Ceph's
    """The database cannot be used yet: retry later."""


class MgrDBNotAllowed(MgrDBNotReady):
    """The operator switched databases off: option ``mgr_pool``."""


def MgrModuleRecoverDB(func: F) -> F:  # noqa: N802 - Ceph's
    """Reopen the database and retry, up to three times, if SQLite reports that it is broken."""

    @functools.wraps(func)
    def check(self: DatabaseMixin, *args: Any, **kwargs: Any) -> Any:
        for retries in range(MAX_DBCLEANUP_RETRIES + 1):
            try:
                return func(self, *args, **kwargs)
            except sqlite3.DatabaseError as error:
                self.log.error("Caught fatal database error: %s", error)  # noqa: TRY400 - raised in the end
                if retries == MAX_DBCLEANUP_RETRIES:
                    raise
                self._reopen_db()
        raise AssertionError("the last round returns or raises")

    check.__signature__ = inspect.signature(func)  # type: ignore[attr-defined] # read by inspect
    return check  # type: ignore[return-value] # same signature, by the line above


def CLIRequiresDB(func: F) -> F:  # noqa: N802 - Ceph's
    """Fail with ``EAGAIN`` while the database cannot be used. Write it below ``CLICommand``."""

    @functools.wraps(func)
    def check(self: DatabaseMixin, *args: Any, **kwargs: Any) -> Any:
        if not self.db_ready():
            return -errno.EAGAIN, "", "mgr db not yet available"
        return func(self, *args, **kwargs)

    check.__signature__ = inspect.signature(func)  # type: ignore[attr-defined] # read by inspect
    return check  # type: ignore[return-value] # same signature, by the line above


class DatabaseMixin(ModuleBase):
    """Gives a module an SQLite database (``db``) and upgrades of its schema.

    ``SCHEMA`` creates version 1; element *i* of ``SCHEMA_VERSIONED`` upgrades from version *i* to
    the next. A transaction returns only once it is stored, so that the next active has it, too.
    """

    SCHEMA: ClassVar[Sequence[str] | None] = None
    SCHEMA_VERSIONED: ClassVar[Sequence[Sequence[str]] | None] = None

    _context: ModuleContext
    _db: Connection | None
    _db_lock: threading.Lock

    def _prepare_db(self) -> None:
        self._db = None
        self._db_lock = threading.Lock()

    @property
    def db(self) -> Connection:
        """The connection, opened at the first use. The caller holds ``_db_lock``.

        Raises:
            MgrDBNotAllowed: Option ``mgr_pool`` is false.
            MgrDBNotReady: The store does not respond.

        """
        assert self._db_lock.locked(), "hold _db_lock while you use the database"  # noqa: S101 - as in ceph-mgr
        if self._db is not None and not self._db.closed:
            return self._db
        if not self._context.get_native_option("mgr_pool"):
            raise MgrDBNotAllowed("databases of modules are switched off (mgr_pool)")
        self._db = self.open_db()
        if self._db is None:
            raise MgrDBNotReady("mgr db not yet available")
        return self._db

    def open_db(self) -> Connection | None:
        """Open the database as it was last stored; None if the store does not respond."""
        try:
            image = self._context.load_database()
        except OutcomeUnknownError:
            raise
        except StoreUnavailableError as error:
            self.log.warning("the database cannot be read: %s", error)
            return None
        db = connect()
        try:
            db.begin(image, self._context.store_database)
            self.configure_db(db)
        except BaseException:
            db.close()
            raise
        return db

    def close_db(self) -> None:
        """Close the connection; the next use opens another one."""
        with self._db_lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def db_ready(self) -> bool:
        """Open the database and return whether it can be used now."""
        with self._db_lock:
            try:
                return self.db is not None
            except MgrDBNotReady:
                return False

    def configure_db(self, db: sqlite3.Connection) -> None:
        """Configure a new connection and upgrade the schema."""
        for pragma in (
            "FOREIGN_KEYS = 1",
            "JOURNAL_MODE = PERSIST",
            f"PAGE_SIZE = {PAGE_BYTES}",
            "CACHE_SIZE = 64",
            "TEMP_STORE = memory",
            f"MAX_PAGE_COUNT = {IMAGE_BYTES_MAX // PAGE_BYTES}",
        ):
            db.execute(f"PRAGMA {pragma}")
        db.row_factory = sqlite3.Row
        self.load_schema(db)

    def load_schema(self, db: sqlite3.Connection) -> None:
        """Create or upgrade the schema, in one transaction."""
        killpoint = self._killpoint()
        with db:
            db.execute("BEGIN")
            self.create_skeleton_schema(db)
            _die_at(1, killpoint)
            row = db.execute("SELECT value FROM MgrModuleKV WHERE key = '__version'").fetchone()
            self.maybe_upgrade(db, int(row["value"]))
            _die_at(2, killpoint)
        _die_at(3, killpoint)

    def create_skeleton_schema(self, db: sqlite3.Connection) -> None:
        """Create the key/value table, which also contains the schema version."""
        db.execute(
            "CREATE TABLE IF NOT EXISTS MgrModuleKV"
            " (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID"
        )
        db.execute("INSERT OR IGNORE INTO MgrModuleKV (key, value) VALUES ('__version', 0)")

    def maybe_upgrade(self, db: sqlite3.Connection, version: int) -> None:
        """Upgrade from ``version`` to the newest. A new database gets ``SCHEMA`` and version 1.

        Raises:
            RuntimeError: The database is newer than the module.

        """
        if version <= 0:
            self.log.info("creating main.db for %s", self.module_name)
            for sql in self.SCHEMA or ():
                db.execute(sql)
            self.update_schema_version(db, 1)
            return
        steps = self.SCHEMA_VERSIONED
        if steps is None:
            return
        latest = len(steps)
        if latest < version:
            raise RuntimeError(f"main.db version is newer ({version}) than module ({latest})")
        for number in range(version, latest):
            self.log.info("upgrading main.db for %s from %d", self.module_name, number)
            for sql in steps[number]:
                db.execute(sql)
        if version < latest:
            self.update_schema_version(db, latest)

    def update_schema_version(self, db: sqlite3.Connection, version: int) -> None:
        """Record that the schema has ``version``."""
        db.execute("UPDATE MgrModuleKV SET value = ? WHERE key = '__version'", (version,))

    @contextmanager
    def exclusive_db_access(self) -> Iterator[Connection]:
        """Lock the connection and open a transaction, which ends with the block.

        An exception rolls it back.
        """
        with self._db_lock, self.db as db:
            db.execute("BEGIN EXCLUSIVE")
            yield db

    @contextmanager
    def exclusive_db_cursor(self) -> Iterator[sqlite3.Cursor]:
        """Like ``exclusive_db_access``, but yields a cursor."""
        with self.exclusive_db_access() as db:
            yield db.cursor()

    @MgrModuleRecoverDB
    def set_kv(self, key: str, value: Any) -> None:
        """Store ``value`` in the database. ``key`` must not begin with two underscores."""
        assert not key.startswith("__"), f"reserved: {key!r}"  # noqa: S101 - as in ceph-mgr
        with self._db_lock, self.db as db:
            sql = "INSERT OR REPLACE INTO MgrModuleKV (key, value) VALUES (?, ?)"
            db.execute(sql, (key, value))

    @MgrModuleRecoverDB
    def get_kv(self, key: str) -> Any:
        """Return what ``set_kv`` stored under ``key``; None if there is nothing."""
        assert not key.startswith("__"), f"reserved: {key!r}"  # noqa: S101 - as in ceph-mgr
        with self._db_lock, self.db as db:
            sql = "SELECT value FROM MgrModuleKV WHERE key = ?"
            row = db.execute(sql, (key,)).fetchone()
        return None if row is None else row["value"]

    def _reopen_db(self) -> None:
        self.close_db()
        try:
            self.db_ready()
        except Exception:  # the next attempt raises the error
            self.log.exception("the database cannot be reopened")

    def _killpoint(self) -> int:
        value = self._context.get_option(self.module_name, "sqlite3_killpoint")
        return value if isinstance(value, int) else 0


def _die_at(point: int, killpoint: int) -> None:
    if point == killpoint:
        os._exit(KILLED)  # in a manager, this module's crash: no module ends the others
