"""Commands ``backup``: what the active keeps in etcd, as it was at one revision.

``mgrctl backup FILE`` calls them. The first one is in the audit; the pages after it only read, but
what they read has secrets and rights in it, so both need every right.
"""

from __future__ import annotations

from typing import Final

from mgr.access.caps import CHANGE_ACCESS, SECRETS, AccessRequest
from mgr.clock import timestamp
from mgr.command.builtin.call import BuiltinCommand, Call, Reply, builtin
from mgr.command.builtin.context import BuiltinContext
from mgr.errors import InvalidArgumentError, NotPermittedError
from mgr.store.api import NO_LEASE, Page, Revision
from mgr.text import encodable, shortened

PAGE_CHARS_MAX: Final = 1 << 20
"""Characters of one page, unless its first record alone is longer."""
TIMEOUT_S: Final = 5.0


def commands(context: BuiltinContext) -> list[BuiltinCommand]:
    """Return the commands of this noun."""
    noun = _Backup(context)
    return [
        builtin(
            "backup begin",
            "begin a backup: return the revision to read (used by 'mgrctl backup FILE')",
            CHANGE_ACCESS,
            noun.begin,
        ),
        builtin(
            "backup page name=revision,type=CephInt,range=1 name=after,type=CephString,req=false",
            "read records as they were at a revision (used by 'mgrctl backup FILE')",
            SECRETS,
            noun.page,
        ),
    ]


class _Backup:
    def __init__(self, context: BuiltinContext) -> None:
        self._context = context

    async def begin(self, _call: Call) -> Reply:
        context = self._context
        status = await context.leases.status(timeout_s=TIMEOUT_S)
        return Reply(
            {
                "cluster": context.keys.cluster,
                "revision": status.revision,
                "term": context.fenced.term,
                "made_at": timestamp(),
                "made_by": context.version,
                "etcd_cluster_id": f"{status.cluster_id:x}",
            }
        )

    async def page(self, call: Call) -> Reply:
        context, keys = self._context, self._context.keys
        request = AccessRequest("backup page", CHANGE_ACCESS, arguments=call.arguments)
        if not context.access.is_allowed(call.caller, request):
            raise NotPermittedError("a backup has every secret and right in it: it needs 'allow *'")
        page = await context.leases.page(
            keys.root,
            after=_key_at(call.get("after", "")),
            at=Revision(call["revision"]),
            chars_max=PAGE_CHARS_MAX,
            timeout_s=TIMEOUT_S,
        )
        return Reply(
            {
                "records": _kept(page, keys.root, keys.not_backed_up),
                "after": page.records[-1].key.encode().hex() if page.more else "",
            }
        )


def _key_at(cursor: str) -> str:
    # In hexadecimal: a key may have characters that the argument of a command may not have.
    try:
        return bytes.fromhex(cursor).decode()
    except ValueError:
        raise InvalidArgumentError(f"after: '{shortened(cursor, 64)}' is of no page") from None


def _kept(page: Page, root: str, left_out: frozenset[str]) -> list[tuple[str, str]]:
    # What hangs on a lease ends with it: presence, leadership, results of commands, join tokens.
    kept = [
        (record.key.removeprefix(root), record.value)
        for record in page.records
        if record.lease == NO_LEASE and record.key not in left_out
    ]
    for key, value in kept:
        if encodable(key) != key or encodable(value) != value:
            raise InvalidArgumentError(
                f"'{encodable(root + key)}' is no UTF-8: no manager wrote it, and no backup can "
                "hold it; remove it with etcdctl"
            )
    return kept
