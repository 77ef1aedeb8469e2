"""Nothing but settings passes before the client has acknowledged the server's."""

from __future__ import annotations

import pytest

from mgr.rpc.acknowledged import PREFACE, AcknowledgedFirst, NotAcknowledgedError
from mgr.rpc.acknowledged import UNACKNOWLEDGED_BYTES_MAX as BYTES_MAX
from tests.support.http2 import frame

SETTINGS = frame(4, 0, 0)
ACK = frame(4, 1, 0)
HEADERS = frame(1, 4, 1, b"x" * 100)
DATA = frame(0, 1, 1, b"y" * 50)


def passed(first, *parts):
    return b"".join(map(first.feed, parts))


def test_requests_pass_after_the_acknowledgement_in_their_order():
    """A client sends its first request before it has read the server's settings."""
    first = AcknowledgedFirst()

    assert passed(first, PREFACE + SETTINGS + HEADERS + DATA) == PREFACE + SETTINGS
    assert passed(first, ACK + HEADERS) == ACK + HEADERS + DATA + HEADERS
    assert passed(first, b"anything") == b"anything"


def test_the_pieces_in_which_it_arrives_make_no_difference():
    """Byte by byte it is the same as at once."""
    sent = PREFACE + SETTINGS + HEADERS + DATA + ACK + HEADERS
    first = AcknowledgedFirst()

    assert passed(first, *(bytes([each]) for each in sent)) == AcknowledgedFirst().feed(sent)
    assert first.acknowledged


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n",
        b"P" * 24,
        PREFACE + frame(1, 4, 1, b"x" * (16 << 10) + b"y"),
        PREFACE + SETTINGS + HEADERS * (BYTES_MAX // len(HEADERS) + 1),
        PREFACE + SETTINGS * (BYTES_MAX // len(SETTINGS) + 1),
        PREFACE + frame(1, 0, 1) + frame(9, 0, 1) * (BYTES_MAX // 9 + 1),
    ],
    ids=["http/1", "no preface", "large frame", "many requests", "many settings", "continuation"],
)
def test_what_is_no_http2_or_too_much_is_refused(sent):
    """Whether it arrives at once or in pieces."""
    with pytest.raises(NotAcknowledgedError):
        AcknowledgedFirst().feed(sent)
    with pytest.raises(NotAcknowledgedError):
        passed(AcknowledgedFirst(), *(sent[at : at + 1000] for at in range(0, len(sent), 1000)))
