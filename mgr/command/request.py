"""One command as received from a client, and its digest, which identifies its content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mgr.access.identity import INTERNAL_CALLER, Caller
from mgr.errors import InvalidArgumentError

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
DIGEST_FORM: Final = "r1:"
"""Prefix of a digest made of what the client sent. A digest without it comes from a record of an
earlier build, is made of parsed arguments and cannot be compared with one of these."""


class Request(msgspec.Struct, frozen=True):
    """One command as received from a client. A struct: made in a third of a dataclass's time.

    Attributes:
        words: The words as typed, prefix first; may include ``--name=value``.
        arguments: Further arguments by name, typed.
        input: Content of ``-i FILE``: UTF-8 text.
        request_id: The same in every retry of one request. If empty, at-most-once is not
            promised.
        deadline_s: The *moment* on the manager's clock at which the caller stops waiting; None:
            no limit. (A server adds the caller's timeout to ``clock.now()``.)
        caller: The client that sent it.
        age_s: Seconds since the client sent this request for the first time; 0 for a first
            attempt, or if the client does not give it.

    """

    words: Sequence[str]
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)
    input: bytes = b""
    request_id: str = ""
    deadline_s: float | None = None
    caller: Caller = INTERNAL_CALLER
    age_s: float = 0.0

    @property
    def digest(self) -> str:
        """Digest of words, arguments and input, as the client sent them.

        It is computed before parsing. So the same request has the same digest on a version that
        adds an argument with a default, and on one that lacks the command.
        """
        content = [list(self.words), dict(self.arguments), self.input]
        encoded = msgspec.json.encode(content, enc_hook=repr, order="deterministic")
        return DIGEST_FORM + hashlib.sha256(encoded).hexdigest()[:16]


def checked_request_id(request_id: str) -> str:
    """Return ``request_id`` if it may be part of an etcd key.

    Raises:
        InvalidArgumentError: It has a forbidden character, or a length that is not 1 to 128.

    """
    if not REQUEST_ID.fullmatch(request_id):
        raise InvalidArgumentError(
            f"request id {request_id!r}: use 1 to 128 of A-Z a-z 0-9 _ . : -"
        )
    return request_id
