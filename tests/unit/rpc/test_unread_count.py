"""The count of what clients have not read: nothing is left of it once all is read."""

from mgr.client_limits import ClientLimits
from mgr.clock import CLOCK
from mgr.rpc.unread import UnreadAnswers
from tests.support.callers import caller


def test_an_empty_message_beside_another_one_is_counted_to_its_end():
    """Of two streams of one caller: the other one's last byte makes the caller forgotten."""
    unread = UnreadAnswers(ClientLimits(CLOCK.now))
    other, empty = (unread.message(caller("a"), size, None) for size in (10, 0))

    with empty:
        with other:
            assert unread.total_bytes == 10
        assert unread.total_bytes == 0

    assert unread.total_bytes == 0
    assert unread.has_room(caller("a"))
