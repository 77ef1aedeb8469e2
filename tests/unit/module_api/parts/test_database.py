"""A module's database as ceph-mgr's modules use it; every commit is kept before it is told."""

import sqlite3
import threading

import pytest

from mgr.errors import OutcomeUnknownError, StoreUnavailableError, TermLostError, TooLargeError
from mgr_module import (
    CLIReadCommand,
    CLIRequiresDB,
    MgrDBNotAllowed,
    MgrDBNotReady,
    MgrModule,
    MgrModuleRecoverDB,
)

V1 = ("CREATE TABLE Fruit (name TEXT PRIMARY KEY, many INTEGER NOT NULL)",)
V2 = ("ALTER TABLE Fruit ADD COLUMN colour TEXT", "CREATE INDEX Many ON Fruit (many)")


class Module(MgrModule):
    SCHEMA = V1
    SCHEMA_VERSIONED = (V1,)

    @CLIReadCommand("fruit count")
    @CLIRequiresDB
    def count(self):
        """Count them."""
        with self.exclusive_db_cursor() as cursor:
            return 0, str(cursor.execute("SELECT count(*) FROM Fruit").fetchone()[0]), ""

    @MgrModuleRecoverDB
    def add(self, name, many=1):
        with self._db_lock, self.db:
            self.db.execute("INSERT INTO Fruit VALUES (?, ?)", (name, many))

    def names(self):
        with self._db_lock:
            return [row["name"] for row in self.db.execute("SELECT name FROM Fruit ORDER BY name")]


class Second(Module):
    SCHEMA_VERSIONED = (V1, V2)


@pytest.fixture
def module(mgr_host):
    return mgr_host.load(Module, name="fruit")


@pytest.fixture
def kept(mgr_host, module):
    """The images that were kept, in order."""
    images = []
    store = mgr_host.context.store_database
    replace_store(module, mgr_host, lambda image: (store(image), images.append(image)))
    return images


def replace_store(module, host, store):
    """From now on, commits are handed to ``store``; a function that an open database has too."""
    host.context.store_database = store
    if module._db is not None:
        module._db._store_image = store


def refuse(module, host, error):
    """The store does not keep what comes next."""

    def store(image):
        raise error

    replace_store(module, host, store)


def version_of(module):
    with module._db_lock:
        sql = "SELECT value FROM MgrModuleKV WHERE key = '__version'"
        return module.db.execute(sql).fetchone()["value"]


# -- what survives ----------------------------------------------------------------------------


def test_what_was_committed_is_there_after_a_failover(mgr_host, module):
    """On another manager, in another instance."""
    module.add("apple")
    module.set_kv("k", 5)

    successor = mgr_host.fail_over()

    assert successor.names() == ["apple"]
    assert successor.get_kv("k") == 5
    assert successor.get_kv("absent") is None


def test_a_statement_by_itself_is_kept_when_it_returns(module, kept):
    """As in ceph-mgr there is no implicit transaction; what only reads is not kept."""
    module.db_ready()
    before = len(kept)
    with module._db_lock:
        module.db.execute("INSERT INTO Fruit VALUES ('apple', 1)")
        assert len(kept) == before + 1
        module.db.execute("SELECT * FROM Fruit").fetchall()
        assert len(kept) == before + 1
        module.db.execute("DELETE FROM Fruit")
        assert len(kept) == before + 2


def test_a_block_is_kept_once_at_its_end(module, kept):
    """However many statements stand in ``with self.db``."""
    module.db_ready()
    before = len(kept)

    with module._db_lock, module.db as db:
        for number in range(5):
            db.execute("INSERT INTO Fruit VALUES (?, 1)", (str(number),))
        assert len(kept) == before

    assert len(kept) == before + 1


def test_a_transaction_is_kept_at_its_end_and_nothing_of_one_that_was_undone(module, kept):
    """``exclusive_db_access`` is one transaction; an exception undoes it."""
    module.db_ready()
    before = len(kept)

    def fail():
        with module.exclusive_db_access() as db:
            db.execute("INSERT INTO Fruit VALUES ('apple', 1)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(kept) == before

    with module.exclusive_db_cursor() as cursor:
        cursor.executemany("INSERT INTO Fruit VALUES (?, 1)", [("pear",), ("plum",)])
    assert len(kept) == before + 1
    assert module.names() == ["pear", "plum"]


@pytest.mark.parametrize("fetch", ["fetchall", "list", "fetchone"])
def test_rows_returned_by_a_write_do_not_hide_its_commit(module, kept, fetch):
    """``INSERT ... RETURNING`` commits with its last row."""
    module.db_ready()
    before = len(kept)

    with module._db_lock:
        cursor = module.db.execute("INSERT INTO Fruit VALUES ('apple', 1) RETURNING name")
        rows = list(cursor) if fetch == "list" else getattr(cursor, fetch)()
        assert rows
        if fetch == "fetchone":
            cursor.fetchone()

    assert len(kept) == before + 1


def test_a_script_and_a_pragma_are_kept(module, kept):
    """Whatever moves the database's own change counter."""
    module.db_ready()
    before = len(kept)

    with module._db_lock:
        module.db.executescript("CREATE TABLE A (x); INSERT INTO A VALUES (1);")
        module.db.execute("PRAGMA user_version = 7")

    assert len(kept) == before + 2


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TooLargeError("9 bytes"), "database or disk is full: 9 bytes"),
        (StoreUnavailableError("silent"), "was not stored: silent"),
    ],
)
def test_what_cannot_be_kept_did_not_happen(mgr_host, module, error, words):
    """SQLite's own error; what was kept before is all there."""
    module.add("apple")
    keeps = mgr_host.context.store_database
    refuse(module, mgr_host, error)

    with pytest.raises(sqlite3.OperationalError, match=words):
        module.add("pear")

    mgr_host.context.store_database = keeps
    assert module.names() == ["apple"]
    module.add("plum")
    assert mgr_host.fail_over().names() == ["apple", "plum"]


@pytest.mark.parametrize("error", [OutcomeUnknownError("?"), TermLostError("over")])
def test_what_nobody_knows_is_not_tried_again(mgr_host, module, error):
    """Not an error of SQLite's, so that ``MgrModuleRecoverDB`` leaves it alone."""
    module.add("apple")
    keeps, calls = mgr_host.context.store_database, []

    def store(image):
        calls.append(image)
        if isinstance(error, OutcomeUnknownError):
            keeps(image)
        raise error

    replace_store(module, mgr_host, store)
    with pytest.raises(type(error)):
        module.add("pear")

    assert len(calls) == 1
    mgr_host.context.store_database = keeps
    happened = isinstance(error, OutcomeUnknownError)
    assert module.names() == (["apple", "pear"] if happened else ["apple"])


def test_a_database_grows_to_its_limit_and_says_so(module):
    """32 MiB: SQLite refuses the statement, and the rest stays usable."""
    module.add("apple")
    with module._db_lock:
        module.db.execute("CREATE TABLE Big (x)")
        with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
            module.db.execute("INSERT INTO Big VALUES (zeroblob(34000000))")

    assert module.names() == ["apple"]


# -- the rest of ceph-mgr's interface -----------------------------------------------------------


def test_recovering_reopens_and_gives_up_after_three_rounds(mgr_host, module):
    """For whatever SQLite calls a database error."""

    class Broken(Module):
        rounds = 0

        @MgrModuleRecoverDB
        def work(self, good_after):
            self.rounds += 1
            if self.rounds <= good_after:
                raise sqlite3.DatabaseError("malformed")
            return self.names()

    broken = mgr_host.load(Broken, name="fruit")
    assert broken.work(3) == []
    assert broken.rounds == 4
    broken.rounds = 0
    with pytest.raises(sqlite3.DatabaseError):
        broken.work(9)
    assert broken.rounds == 4


def test_the_lock_must_be_held(module):
    """An unlocked use is a fault of the module's."""
    with pytest.raises(AssertionError):
        _ = module.db


def test_a_command_waits_for_its_database(mgr_host, module):
    """``EAGAIN`` while the store is silent, or databases are switched off."""
    assert mgr_host.run("fruit count") == (0, "0", "")
    module.close_db()
    loads = mgr_host.context.load_database

    def silent():
        raise StoreUnavailableError("silent")

    mgr_host.context.load_database = silent
    assert mgr_host.run("fruit count") == (-11, "", "mgr db not yet available")
    with module._db_lock, pytest.raises(MgrDBNotReady):
        _ = module.db
    mgr_host.context.load_database = loads
    assert mgr_host.run("fruit count").stdout == "0"

    module.close_db()
    mgr_host.context.native["mgr_pool"] = False
    assert module.db_ready() is False
    with module._db_lock, pytest.raises(MgrDBNotAllowed):
        _ = module.db


def test_a_new_database_has_version_one_and_is_upgraded_at_the_next_opening(mgr_host):
    """Even if the module knows further versions: as in ceph-mgr."""
    module = mgr_host.load(Second, name="fruit")
    assert version_of(module) == 1
    module.add("apple")

    module.close_db()

    assert version_of(module) == 2
    with module._db_lock:
        row = module.db.execute("SELECT * FROM Fruit").fetchone()
        assert dict(row) == {"name": "apple", "many": 1, "colour": None}


def test_a_database_newer_than_the_module_is_refused(mgr_host):
    """After a downgrade; nothing is touched."""
    module = mgr_host.load(Second, name="fruit")
    module.db_ready()
    module.close_db()
    module.db_ready()
    image = mgr_host.context.database

    module.SCHEMA_VERSIONED = (V1,)
    module.close_db()
    with pytest.raises(RuntimeError, match=r"main.db version is newer \(2\) than module \(1\)"):
        module.db_ready()
    assert mgr_host.context.database == image


def test_keys_of_the_database_itself_are_reserved(module):
    """``__version`` is one."""
    with pytest.raises(AssertionError):
        module.set_kv("__version", 9)
    with pytest.raises(AssertionError):
        module.get_kv("__version")


def test_the_schema_is_all_or_nothing(mgr_host):
    """A statement that fails leaves no half of it."""

    class Wrong(Module):
        SCHEMA = (*V1, "CREATE NONSENSE")

    module = mgr_host.load(Wrong, name="fruit")
    with pytest.raises(sqlite3.OperationalError):
        module.db_ready()
    assert mgr_host.context.database == b""


def test_threads_keep_their_commits_in_order(mgr_host, module):
    """Each of many threads finds its row kept when its call returns."""
    missing = []

    def work(number):
        module.add(str(number))
        image = mgr_host.context.database
        other = sqlite3.connect(":memory:")
        other.deserialize(image)
        if not other.execute("SELECT 1 FROM Fruit WHERE name = ?", (str(number),)).fetchone():
            missing.append(number)
        other.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert missing == []
    assert len(module.names()) == 16
