from mgr.store import etcd3_stubs
from mgr.store.api import Record
from mgr.store.watch import merge_events, range_end, record_of

ANSWER = etcd3_stubs.message("WatchResponse")


def events(*triples):
    """Each as key, value (None: deleted) and revision."""
    answer = ANSWER()
    for key, value, revision in triples:
        event = answer.events.add(type=int(value is None))
        event.kv.key, event.kv.mod_revision, event.kv.create_revision = key, revision, 1
        event.kv.value = value or b""
    return answer.events


def test_the_last_word_on_a_key_counts():
    """Put, deleted and put again in one message is put; the other way round it is gone."""
    changed = merge_events(
        events((b"a", b"1", 5), (b"b", b"1", 5), (b"a", None, 6), (b"b", None, 7), (b"a", b"2", 8))
    )
    assert changed.put == (Record("a", "2", 1, 8),)
    assert changed.deleted == ("b",)
    assert changed.revision == 8


def test_no_events_are_no_change():
    """A message whose events were all known says nothing."""
    assert merge_events([]) is None


def test_the_end_of_a_prefix_is_the_first_key_behind_it():
    """Bytes of 0xff cannot be counted up: they are dropped, until nothing is left to exceed."""
    assert range_end(b"/a/") == b"/a0"
    assert range_end(b"a\xff") == b"b"
    assert range_end(b"a\xff\xff") == b"b"
    assert range_end(b"\xff\xff") == b"\0"


def test_bytes_that_are_no_text_are_readable():
    """Somebody else's key under our prefix is no reason to fail."""
    [event] = events((b"k\xff", b"\x80", 5))
    assert record_of(event.kv).key == "k\udcff"
    assert record_of(event.kv).value == "\udc80"
