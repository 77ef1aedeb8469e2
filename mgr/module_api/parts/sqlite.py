"""An SQLite connection whose every commit is handed to a keeper before anybody is told of it.

The database is in memory. Whether a statement changed it is read off the change counter in the
database's own header, which SQLite moves with every committed transaction and never else.
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
"""Where the header has its change counter."""
READ_STATEMENTS: Final = ("SELECT", "EXPLAI")

StoreImage = Callable[[bytes], None]


class Connection(sqlite3.Connection):
    """Like any other; a statement that commits returns once the keeper has what it committed.

    Inside ``with connection:`` it is the end of the block that returns so.

    Raises, where something is committed:
        sqlite3.OperationalError: It could not be kept, for its size (``database or disk is full``)
            or since the store is silent. Nothing is lost but this transaction: the connection is
            closed, and one that is opened anew has what was kept before.
        OutcomeUnknownError: Nobody knows whether it is kept. Closed too; open it anew and look.
        TermLostError: This manager is the active one no more. Nothing was kept.

    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.closed = False
        """Whether it was closed, by the module or because a commit could not be kept."""
        self._store_image: StoreImage | None = None
        self._stored_counter = b""
        self._open_blocks = 0
        # Whoever takes the image later must hand it over later.
        self._order = threading.RLock()

    def begin(self, image: bytes, store_image: StoreImage) -> None:
        """Hold ``image``, empty for a new database; ``store_image`` stores what is committed."""
        if image:
            self.deserialize(image)
        self._stored_counter = image[COUNTER]
        self._store_image = store_image

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that notices what it commits."""
        return super().cursor(factory or Cursor)

    # The three below make a plain cursor in C, whatever ``cursor`` would make.

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
        """Commit, and keep it."""
        super().commit()
        self.store_committed()

    def close(self) -> None:
        """Let go of it. What is committed was kept before."""
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
        """Keep what is committed and not kept yet."""
        with self._order:
            if self._store_image is None or self.closed or self._open_blocks or self.in_transaction:
                return
            image = self._image()
            if image[COUNTER] == self._stored_counter:
                return
            try:
                self._store_image(image)
            except BaseException as error:
                # What is in memory was never acknowledged. It must not be read as if it were.
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
    """A cursor that has its connection keep what it commits."""

    connection: Connection
    _writes = False

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Run ``sql``; if that commits something, it is kept."""
        super().execute(sql, parameters)
        return self._after_statement(sql)

    def executemany(self, sql: str, seq_of_parameters: Iterable[Any], /) -> Self:
        """Run ``sql`` for each of the parameters; if that commits something, it is kept."""
        super().executemany(sql, seq_of_parameters)
        return self._after_statement(sql)

    def executescript(self, sql_script: str, /) -> Self:
        """Run a script; what stands committed at its end is kept."""
        super().executescript(sql_script)
        return self._after_statement(sql_script)

    def fetchone(self) -> Any:
        """The next row."""
        row = super().fetchone()
        self._after_fetch()
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows."""
        rows = super().fetchmany(self.arraysize if size is None else size)
        self._after_fetch()
        return rows

    def fetchall(self) -> list[Any]:
        """The remaining rows."""
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
    """A new, empty database, private to this connection, usable from any thread."""
    return sqlite3.connect(
        # With a file system of its own, even in memory: a plain :memory: has no change counter.
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
        return None  # no error of SQLite's means that; and its retry would do the work twice
    if isinstance(error, ConflictError | StoreUnavailableError):
        return sqlite3.OperationalError(f"the transaction was not kept: {error}")
    return None
