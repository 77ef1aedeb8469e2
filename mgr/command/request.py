"""One command as it arrived, and the digest that tells one request from another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from mgr.access.table import INTERNAL_CALLER, Caller
from mgr.errors import InvalidArgumentError

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
DIGEST_FORM: Final = "r1:"
"""How a digest of what the client sent begins. One without it, in a record of an earlier build, is
made of parsed arguments and can be compared with nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """One command as it arrived.

    Attributes:
        words: As typed, prefix first; keyword forms (``--name=value``) may stand among them.
        arguments: Further arguments by name, typed.
        input: What ``-i FILE`` holds: UTF-8 text.
        request_id: The same in every retry of one intention; empty: no promise of at most once.
        deadline_s: The *moment* on the manager's clock at which the caller stops waiting; None:
            it waits as long as it lives. (A server adds the caller's time-out to ``clock.now()``.)
        caller: Who asks.
        age_s: How long ago, in seconds, the client sent this request for the first time; 0 for
            a first attempt, or where the client does not say.

    """

    words: Sequence[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    input: bytes = b""
    request_id: str = ""
    deadline_s: float | None = None
    caller: Caller = INTERNAL_CALLER
    age_s: float = 0.0

    @property
    def digest(self) -> str:
        """Digest of words, arguments and input, as the client sent them.

        It is made before anything is parsed: a release that adds an argument with a default
        makes the same digest of the same request, and so does one without the command.
        """
        sent = [list(self.words), dict(self.arguments), self.input]
        what = msgspec.json.encode(sent, enc_hook=repr, order="deterministic")
        return DIGEST_FORM + hashlib.sha256(what).hexdigest()[:16]


def checked_request_id(request_id: str) -> str:
    """Return ``request_id`` if it may be part of a key.

    Raises:
        InvalidArgumentError: It may not.

    """
    if not REQUEST_ID.fullmatch(request_id):
        raise InvalidArgumentError(
            f"request id {request_id!r}: use 1 to 128 of A-Z a-z 0-9 _ . : -"
        )
    return request_id
