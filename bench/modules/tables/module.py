"""Measures what a commit of a module's database costs, in the process of the module."""

import json
import random
import time

from mgr_module import CLIWriteCommand, HandleCommandResult, MgrModule

WORDS = ("temperature", "reallocated", "sectors", "power", "hours", "errors", "life", "host")


class Module(MgrModule):
    """``tables`` commands; see bench/database.py."""

    SCHEMA = ("CREATE TABLE Line (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",)
    SCHEMA_VERSIONED = (SCHEMA,)

    @CLIWriteCommand("tables fill")
    def fill(self, kib: int) -> HandleCommandResult:
        """Insert lines until the database has this size, in one transaction."""
        with self.exclusive_db_access() as db:
            while db.execute("PRAGMA page_count").fetchone()[0] * 64 < kib:
                lines = [
                    (
                        " ".join(
                            f"{random.choice(WORDS)}={random.randrange(9999)}" for _ in range(40)
                        ),
                    )
                    for _ in range(100)
                ]
                db.executemany("INSERT INTO Line (text) VALUES (?)", lines)
        return HandleCommandResult()

    @CLIWriteCommand("tables commits")
    def commits(self, rounds: int = 50) -> HandleCommandResult:
        """Milliseconds for a commit of one row, alternating with ``set_store``."""
        stored: list[float] = []
        committed: list[float] = []
        for number in range(rounds):
            begun = time.perf_counter()
            self.set_store("written", f"{number:0100d}")
            between = time.perf_counter()
            with self._db_lock, self.db as db:
                db.execute("INSERT OR REPLACE INTO Line VALUES (1, ?)", (f"{number:0100d}",))
            stored.append((between - begun) * 1e3)
            committed.append((time.perf_counter() - between) * 1e3)
        return HandleCommandResult(stdout=json.dumps([stored, committed]))
