"""The cause that an operator reads is the one that stopped etcd."""

from __future__ import annotations

import grpc
import pytest

from mgr.errors import AccessDeniedError
from mgr.store.cause import Cause, cause_of
from mgr.store.error_classes import refusal_error, unanswered_error


@pytest.mark.parametrize(
    ("details", "cause"),
    [
        ("etcdserver: no leader (etcd at h:1)", Cause.NO_QUORUM),
        ("etcdserver: request timed out, possibly due to previous leader failure", Cause.NO_QUORUM),
        ("etcdserver: request timed out", Cause.SLOW),
        ("Deadline Exceeded (etcd at h:1)", Cause.SLOW),
        ("context deadline exceeded (etcd at h:1)", Cause.SLOW),
        ("no answer within 2 s", Cause.SLOW),
        ("cannot connect to h:1", Cause.CUT_OFF),
        ("failed to connect to all addresses; last error: refused", Cause.CUT_OFF),
        ("Socket closed (etcd at h:1)", Cause.CUT_OFF),
        ("recvmsg:Connection reset by peer (etcd at h:1)", Cause.CUT_OFF),
        ("something new", Cause.OTHER),
    ],
)
def test_silence_has_a_cause(details, cause):
    """Whether or not the request was sent."""
    for maybe_done in (True, False):
        assert cause_of(unanswered_error("put", details, maybe_done=maybe_done)) is cause


def test_refusals_have_a_cause():
    """No space and no rights are said by etcd itself."""
    full = refusal_error(
        "put",
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "etcdserver: mvcc: database space exceeded",
    )

    assert cause_of(full) is Cause.NO_SPACE
    assert cause_of(AccessDeniedError("put")) is Cause.REFUSED


def test_every_cause_names_a_next_step_in_one_line():
    """The line is part of tables and of log lines."""
    for cause in Cause:
        assert "\n" not in cause.text
        assert cause.text.split(": ")[0].isascii()
