"""There is no write path beside ``FencedStore``: every write of the active proves its term.

``tests/sim`` shows what happens without the proof. Here it is shown that nobody can forget it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

WRITES = {"commit", "create", "revoke", "put", "delete"}
"""What changes a key: methods of ``Store`` and of ``FencedStore``. ``revoke`` takes keys along."""

FENCED = {"fenced", "_fenced", "writer", "_writer", "history", "_history"}
"""Names of what writes by a ``FencedStore``: itself, its protocols, and the history of options."""

BESIDE = {
    # The election itself: each of these transactions compares the key it is about.
    "mgr/election/candidate.py",
    "mgr/election/deposition.py",
    "mgr/election/leader_key.py",
    "mgr/election/session.py",
    "mgr/guard/presence.py",
    # What its worker died of: written when the term is over, and for nobody's decision but those
    # that count deaths.
    "mgr/guard/post_mortem.py",
    # The way in for whoever owns etcd, from outside of every term: no term makes it wrong.
    "mgr/access/administrator.py",
    # While nobody leads there is no term; it compares that nobody does.
    "standby/commands.py",
    # A new cluster's first records, before any manager runs; it compares that there are none.
    "mgr/setup/cluster_record.py",
    # A cluster that is brought back from a backup: it writes only while nobody leads.
    "mgr/setup/restore.py",
}
"""Files that may write to the store itself, and why."""


def writers(path: Path) -> Iterator[str]:
    """Upon what each write in ``path`` is called: ``self._store``, ``manager.store``, ..."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in WRITES
        ):
            yield ast.unparse(node.func.value)


def product() -> Iterator[tuple[str, Path]]:
    for folder in ("mgr", "standby"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith(("mgr/store/", "mgr/testing/")):
                yield name, path


def is_store(receiver: str) -> bool:
    return receiver.rpartition(".")[2].lstrip("_") in {"store", "leases"}


def test_nobody_writes_to_the_store_itself():
    """But the election, by its own proofs."""
    beside = {name for name, path in product() if any(map(is_store, writers(path)))}

    assert beside == BESIDE


def test_a_write_is_called_on_something_known():
    """A store under another name would pass the test above: every other receiver is looked at."""
    others = {
        receiver
        for _, path in product()
        for receiver in writers(path)
        if not is_store(receiver) and receiver.rpartition(".")[2] not in FENCED
    }

    assert others == {
        # A registry of commands, schemas, the queue of a bridge, SQLite.
        "self.registry",
        "schemas",
        "self.config.schemas",
        "self._jobs",
        # mgr/access/changes.py writes by its ``_writer``.
        "self._changes",
        "super()",
        # The writer of standby/commands.py, by its own ``commit``.
        "self",
    }


def test_only_the_active_makes_a_fenced_store():
    """For its own term; a second one could be made for another."""
    made = {
        name
        for name, path in product()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "FencedStore"
    }

    assert made == {"mgr/active/term_context.py"}
