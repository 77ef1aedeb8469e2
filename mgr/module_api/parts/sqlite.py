"""An SQLite connection that stores the whole database after every commit, before it returns.

The database is in memory. A statement committed something if the change counter in the database's
header differs: SQLite increments it with every committed transaction and at no other time.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from mgr.errors import ConflictError, OutcomeUnknownError, StoreUnavailableError, TooLargeError

PAGE_BYTES: Final = 65_536
IMAGE_BYTES_MAX: Final = 32 << 20
"""How large a database may grow, free pages included."""
COUNTER: Final = slice(24, 28)
"""Position of the change counter in the database's header."""
READ_STATEMENTS: Final = ("SELECT", "EXPLAI")

StoreImage = Callable[[bytes], None]


class Connection(sqlite3.Connection):
    """An SQLite connection. A statement that commits returns once the commit is stored.

    Inside ``with connection:`` this happens at the end of the block.

    Raises, if something was committed:
        sqlite3.OperationalError: It could not be stored, because it is too large (``database or
            disk is full``) or the store does not respond. Only this transaction is lost: the
            connection is closed, and a new one has the state before it.
        OutcomeUnknownError: It is unknown whether it was stored. The connection is closed, too:
            open a new one and check.
        TermLostError: This manager is no longer the active. Nothing was stored.

    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.closed = False
        """Whether it was closed, by the module or because a commit could not be stored."""
        self._store_image: StoreImage | None = None
        self._stored_counter = b""
        self._open_blocks = 0
        # Images must be stored in the order in which they were taken.
        self._order = threading.RLock()

    def begin(self, image: bytes, store_image: StoreImage) -> None:
        """Load ``image``, empty for a new database; call ``store_image`` after each commit."""
        if image:
            self.deserialize(image)
        self._stored_counter = image[COUNTER]
        self._store_image = store_image

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that stores what it commits."""
        return super().cursor(factory or Cursor)

    # sqlite3's own versions of these three create a plain cursor, without calling ``cursor()``.

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """See ``Cursor.execute``."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        """See ``Cursor.executemany``."""
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> Any:
        """See ``Cursor.executescript``."""
        return self.cursor().executescript(sql_script)

    def commit(self) -> None:
        """Commit and store it."""
        super().commit()
        self.store_committed()

    def close(self) -> None:
        """Close the connection. All commits were stored before."""
        self.closed = True
        super().close()

    def __enter__(self) -> Self:
        self._open_blocks += 1
        return super().__enter__()

    def __exit__(self, *raised: Any) -> Any:  # noqa: PYI036 - as sqlite3 declares it
        try:
            return super().__exit__(*raised)
        finally:
            self._open_blocks -= 1
            self.store_committed()

    def store_committed(self) -> None:
        """Store what was committed and is not stored yet."""
        with self._order:
            if self._store_image is None or self.closed or self._open_blocks or self.in_transaction:
                return
            image = self._image()
            if image[COUNTER] == self._stored_counter:
                return
            try:
                self._store_image(image)
            except BaseException as error:
                # The commit in memory was never acknowledged, so it must not be readable.
                self.close()
                if (sqlite_error := _as_sqlite_error(error)) is not None:
                    raise sqlite_error from error
                raise
            self._stored_counter = image[COUNTER]

    def _image(self) -> bytes:
        try:
            return self.serialize()
        except sqlite3.OperationalError:
            return b""  # nothing was ever written: there is no first page


class Cursor(sqlite3.Cursor):
    """A cursor that makes its connection store what it commits."""

    connection: Connection
    _writes = False

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Run ``sql``; if it commits something, store it."""
        super().execute(sql, parameters)
        return self._after_statement(sql)

    def executemany(self, sql: str, seq_of_parameters: Iterable[Any], /) -> Self:
        """Run ``sql`` for each of the parameters; if it commits something, store it."""
        super().executemany(sql, seq_of_parameters)
        return self._after_statement(sql)

    def executescript(self, sql_script: str, /) -> Self:
        """Run a script; store what is committed at its end."""
        super().executescript(sql_script)
        return self._after_statement(sql_script)

    def fetchone(self) -> Any:
        """Return the next row."""
        row = super().fetchone()
        self._after_fetch()
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows."""
        rows = super().fetchmany(self.arraysize if size is None else size)
        self._after_fetch()
        return rows

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        rows = super().fetchall()
        self._after_fetch()
        return rows

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except StopIteration:
            self._after_fetch()
            raise

    def _after_statement(self, sql: str) -> Self:
        self._writes = not sql.lstrip()[:6].upper().startswith(READ_STATEMENTS)
        if self._writes:
            self.connection.store_committed()
        return self

    def _after_fetch(self) -> None:
        # INSERT ... RETURNING commits with its last row.
        if self._writes:
            self.connection.store_committed()


def connect() -> Connection:
    """Open a new, empty in-memory database, private to this connection; any thread may use it."""
    return sqlite3.connect(
        # The memdb file system, because a plain :memory: database has no change counter.
        "file:main.db?vfs=memdb",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        factory=Connection,
    )


def _as_sqlite_error(error: BaseException) -> sqlite3.Error | None:
    if isinstance(error, TooLargeError):
        return sqlite3.OperationalError(f"database or disk is full: {error}")
    if isinstance(error, OutcomeUnknownError):
        return None  # no SQLite error means this, and a retry could do the work twice
    if isinstance(error, ConflictError | StoreUnavailableError):
        return sqlite3.OperationalError(f"the transaction was not stored: {error}")
    return None
