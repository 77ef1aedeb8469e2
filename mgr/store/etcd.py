"""The store over etcd: implements ``mgr.store.api.Store``."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, Final

from mgr import tracing
from mgr.clock import CLOCK, Clock
from mgr.errors import AccessDeniedError, ConflictError, LeaseExpiredError, MgrError, StoreError
from mgr.store import etcd3_stubs
from mgr.store.api import (
    ABSENT,
    Compare,
    Created,
    Delete,
    FeedEvent,
    LeaseGrant,
    LeaseId,
    Listing,
    Operation,
    Outcome,
    Page,
    Put,
    Record,
    Revision,
    StoreMember,
    StoreStatus,
)
from mgr.store.channel import FailoverChannel
from mgr.store.endpoint import RANGE, TXN, Request
from mgr.store.error_classes import CompactedError, ReplyTooLargeError
from mgr.store.identity import StoreIdentity
from mgr.store.limits import check_commit, encoded_key, first_page
from mgr.store.login import EtcdLogin
from mgr.store.members import MEMBER_LIST, STATUS, store_member
from mgr.store.watch import PrefixFeed, range_end, record_of
from mgr.tls import Tls

__all__ = ["EtcdLogin", "EtcdStore"]

TIMEOUT_S: Final = 2.0
PAGE_RECORDS: Final = 1000
SMALL_PAGE_RECORDS: Final = 128
"""Where a page is cut by its size as well: what does not fit is read again with the next one."""
REFUSED_FOR_S: Final = 600.0
"""How long the version is not requested again after etcd refused it: its log has a line each time.
"""

GRANT: Final = etcd3_stubs.method("Lease", "LeaseGrant")
REVOKE: Final = etcd3_stubs.method("Lease", "LeaseRevoke")
RENEW: Final = etcd3_stubs.method("Lease", "LeaseKeepAlive")
TIME_TO_LIVE: Final = etcd3_stubs.method("Lease", "LeaseTimeToLive")
COMPARE: Final = etcd3_stubs.message("Compare")
OPERATION: Final = etcd3_stubs.message("RequestOp")
EQUAL: Final = etcd3_stubs.enum_value("Compare", "EQUAL")
CREATE: Final = etcd3_stubs.enum_value("Compare", "CREATE")
MOD: Final = etcd3_stubs.enum_value("Compare", "MOD")

log = logging.getLogger(__name__)


class EtcdStore:
    """See ``mgr.store.api.Store``. Make and use it on one event loop."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: Tls | None = None,
        login: EtcdLogin | None = None,
        timeout_s: float = TIMEOUT_S,
        clock: Clock = CLOCK,
        identity: StoreIdentity | None = None,
    ) -> None:
        """Use ``endpoints`` (``host:port``). Nothing is sent yet, so etcd need not be up.

        ``timeout_s`` limits one call with all its attempts, unless the call has its own limit.
        Only answers of the cluster that ``identity`` expects are used; if it expects none, of the
        cluster that most endpoints report at the first contact.

        Raises:
            InvalidSettingError: There is no endpoint.

        """
        self.identity = identity or StoreIdentity()
        self._channel = FailoverChannel(endpoints, tls=tls, login=login, identity=self.identity)
        self._timeout_s = timeout_s
        self._clock = clock
        self._version_refused_until_s = 0.0
        self._version_refused = False
        self.on_request: Callable[[str, float, str], None] = lambda _operation, _s, _reason: None
        """Called after each request: etcd's method, seconds, the error's reason or nothing."""

    async def get(self, key: str, *, timeout_s: float | None = None) -> Record | None:
        """See ``Store.get``."""
        message = RANGE.request(key=encoded_key(key))
        answer = await self._ask(_read(message, f"get {key!r}"), timeout_s)
        return record_of(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str, *, timeout_s: float | None = None) -> Listing:
        """See ``Store.list``. Reads in pages, all at one revision."""
        first = encoded_key(prefix)
        page_max = PAGE_RECORDS
        while True:
            try:
                return await self._list(first, prefix, page_max, timeout_s)
            except CompactedError:
                continue
            except ReplyTooLargeError:
                if page_max == 1:
                    raise
                page_max = max(1, page_max // 8)

    async def page(
        self,
        prefix: str,
        *,
        after: str = "",
        at: Revision = ABSENT,
        chars_max: int,
        timeout_s: float | None = None,
    ) -> Page:
        """See ``Store.page``."""
        first = encoded_key(after) + b"\0" if after else encoded_key(prefix)
        end, count = range_end(encoded_key(prefix)), SMALL_PAGE_RECORDS
        while True:
            message = RANGE.request(key=first, range_end=end, limit=count, revision=at)
            try:
                answer = await self._ask(_read(message, f"page {prefix!r}"), timeout_s)
            except CompactedError as error:
                raise ConflictError(f"revision {at} cannot be read: {error}") from None
            except ReplyTooLargeError:
                if count == 1:
                    raise
                count = max(1, count // 8)
                continue
            return first_page([record_of(each) for each in answer.kvs], chars_max, more=answer.more)

    async def commit(
        self,
        operations: Sequence[Operation],
        *,
        when: Sequence[Compare] = (),
        then_get: Sequence[str] = (),
        otherwise_get: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> Outcome:
        """See ``Store.commit``. Without operations it is a read and repeated if unanswered."""
        check_commit(operations, when, then_get, otherwise_get)
        reads = (then_get, otherwise_get)
        request = _transaction(operations, when, reads, repeatable=not operations)
        return _outcome(await self._ask(request, timeout_s))

    async def create(
        self, key: str, value: str, *, lease: LeaseId, timeout_s: float | None = None
    ) -> Revision | None:
        """See ``Store.create``."""
        operations = (Put(key, value, lease),)
        check_commit(operations)
        request = _transaction(operations, (Created(key, ABSENT),), ((), (key,)), repeatable=True)
        outcome = _outcome(await self._ask(request, timeout_s))
        if outcome.succeeded:
            return outcome.revision
        [holder] = outcome.found
        return holder.create_revision if holder and holder.lease == lease else None

    async def grant(self, ttl_s: int, *, timeout_s: float | None = None) -> LeaseGrant:
        """See ``Store.grant``."""
        # We choose the lease id, so that the request can be repeated if its answer is lost.
        lease = LeaseId(secrets.randbits(62) + 1)
        message = GRANT.request(ID=lease, TTL=ttl_s)
        try:
            request = Request(GRANT, message, f"grant {ttl_s} s", linearizable=True)
            answer = await self._ask(request, timeout_s)
        except StoreError as error:
            if "lease already exists" not in str(error):
                raise
            message = TIME_TO_LIVE.request(ID=lease)
            request = Request(TIME_TO_LIVE, message, f"read lease {lease:x}")
            answer = await self._ask(request, timeout_s)
            return LeaseGrant(lease, float(answer.grantedTTL))
        return LeaseGrant(lease, float(answer.TTL))

    async def renew(self, lease: LeaseId, *, timeout_s: float | None = None) -> float:
        """See ``Store.renew``."""
        purpose = f"renew lease {lease:x}"
        # A stream in etcd's protocol. Closed after one message it is a unary call, which can go to
        # another endpoint when one fails; a stream kept open cannot.
        answer = await self._ask(Request(RENEW, RENEW.request(ID=lease), purpose), timeout_s)
        if answer.TTL <= 0:
            raise LeaseExpiredError(f"{purpose}: it is gone")
        return float(answer.TTL)

    async def revoke(self, lease: LeaseId, *, timeout_s: float | None = None) -> None:
        """See ``Store.revoke``."""
        request = Request(REVOKE, REVOKE.request(ID=lease), f"revoke lease {lease:x}")
        try:
            await self._ask(request, timeout_s)
        except LeaseExpiredError:
            return

    def follow(self, prefix: str) -> AsyncGenerator[FeedEvent, None]:
        """See ``Store.follow``."""
        encoded_key(prefix)
        return PrefixFeed(self, self._channel, prefix, self._clock).events()

    async def status(self, *, timeout_s: float | None = None) -> StoreStatus:
        """See ``Store.status``. The endpoint in use answers.

        The version is empty if etcd refuses to tell it: since 3.5.28 and 3.6.9, only a user with
        the role root may ask. Everything else needs the rights on the prefix only.
        """
        message = RANGE.request(key=self.identity.probe_key.encode(), count_only=True)
        header = (await self._ask(_read(message, "read etcd's revision"), timeout_s)).header
        status = await self._endpoint_status(timeout_s)
        revision = Revision(header.revision)
        if status is None:
            return StoreStatus("", header.cluster_id, revision)
        used, quota = status.dbSizeInUse or status.dbSize, status.dbSizeQuota
        return StoreStatus(str(status.version), header.cluster_id, revision, used, quota)

    async def check_endpoints(self, *, timeout_s: float = TIMEOUT_S) -> dict[str, bool]:
        """Check the cluster ids of the endpoints, also of those not in use.

        Returns for each address that was asked whether it answered.
        """
        return await self._channel.check_endpoints(timeout_s=timeout_s)

    async def members(self, *, timeout_s: float) -> Sequence[StoreMember]:
        """See ``Store.members``. Where etcd has users, only one with the role root may ask."""
        names: dict[int, str] = {}
        with contextlib.suppress(StoreError):
            listed = await self._ask(Request(MEMBER_LIST, MEMBER_LIST.request(), "list"), timeout_s)
            names = {int(each.ID): str(each.name) for each in listed.members}
        status = Request(STATUS, STATUS.request(), "status")
        asked = await self._channel.ask_each(status, timeout_s=timeout_s)
        return [store_member(each, names) for each in asked]

    async def close(self) -> None:
        """See ``Store.close``."""
        await self._channel.close()

    async def _endpoint_status(self, timeout_s: float | None) -> Any:
        if self._clock.now() < self._version_refused_until_s:
            return None
        try:
            return await self._ask(Request(STATUS, STATUS.request(), "status"), timeout_s)
        except AccessDeniedError as error:
            self._version_refused_until_s = self._clock.now() + REFUSED_FOR_S
            if not self._version_refused:
                self._version_refused = True
                why = "only a user with the role root may ask; nothing else needs that role"
                log.info("etcd version unknown", extra={"why": why, "error": str(error)})
            return None

    async def _ask(self, request: Request, timeout_s: float | None) -> Any:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        operation = request.method.path.rpartition("/")[2]
        began_s, reason = self._clock.now(), "CANCELLED"
        try:
            with tracing.part(f"etcd {operation}", tracing.Kind.CLIENT) as span:
                span.set("db.system.name", "etcd")
                span.set("mgr.purpose", request.purpose)
                answer = await self._channel.ask(request, timeout_s=limit_s)
            reason = ""
        except MgrError as error:
            reason = error.reason
            raise
        finally:
            self.on_request(operation, self._clock.now() - began_s, reason)
        return answer

    async def _list(
        self, first: bytes, prefix: str, page_max: int, timeout_s: float | None
    ) -> Listing:
        records: list[Record] = []
        end = range_end(first)
        revision = 0
        while True:
            message = RANGE.request(key=first, range_end=end, limit=page_max, revision=revision)
            answer = await self._ask(_read(message, f"list {prefix!r}"), timeout_s)
            revision = revision or answer.header.revision
            records += map(record_of, answer.kvs)
            if not answer.more:
                return Listing(tuple(records), Revision(revision))
            first = answer.kvs[-1].key + b"\0"


def _read(message: Any, purpose: str) -> Request:
    return Request(RANGE, message, purpose, linearizable=True)


def _transaction(
    operations: Sequence[Operation],
    when: Sequence[Compare],
    reads: tuple[Sequence[str], Sequence[str]],
    *,
    repeatable: bool,
) -> Request:
    """Make the request; ``reads``: the keys to read if it succeeds, and if it does not."""
    then_get, otherwise_get = map(_gets, reads)
    message = TXN.request(
        compare=[_compare(compare) for compare in when],
        success=[*map(_operation, operations), *then_get],
        failure=otherwise_get,
    )
    # A member answers a transaction that neither reads nor writes without asking its peers.
    linearizable = bool(operations or then_get or otherwise_get)
    return Request(
        TXN, message, _purpose(operations, when), repeatable=repeatable, linearizable=linearizable
    )


def _gets(keys: Sequence[str]) -> list[Any]:
    return [OPERATION(request_range={"key": key.encode()}) for key in keys]


def _purpose(operations: Sequence[Operation], when: Sequence[Compare]) -> str:
    """Describe a transaction for error messages: by the first key it changes or compares."""
    if not operations:
        return f"prove {when[0].key!r}" if when else "prove nothing"
    first = operations[0]
    name = (
        f"put {first.key!r}"
        if isinstance(first, Put)
        else f"delete {first.key if isinstance(first, Delete) else first.prefix + '*'!r}"
    )
    return name if len(operations) == 1 else f"{name} and {len(operations) - 1} more"


def _compare(compare: Compare) -> Any:
    key = compare.key.encode()
    if isinstance(compare, Created):
        return COMPARE(result=EQUAL, target=CREATE, key=key, create_revision=compare.revision)
    return COMPARE(result=EQUAL, target=MOD, key=key, mod_revision=compare.revision)


def _operation(operation: Operation) -> Any:
    if isinstance(operation, Put):
        put = {
            "key": operation.key.encode(),
            "value": operation.value.encode(),
            "lease": operation.lease,
        }
        return OPERATION(request_put=put)
    if isinstance(operation, Delete):
        return OPERATION(request_delete_range={"key": operation.key.encode()})
    first = operation.prefix.encode()
    return OPERATION(request_delete_range={"key": first, "range_end": range_end(first)})


def _outcome(answer: Any) -> Outcome:
    return Outcome(
        answer.succeeded, Revision(answer.header.revision), tuple(_found(answer.responses))
    )


def _found(responses: Any) -> Iterator[Record | None]:
    for response in responses:
        if response.HasField("response_range"):
            kvs = response.response_range.kvs
            yield record_of(kvs[0]) if kvs else None
