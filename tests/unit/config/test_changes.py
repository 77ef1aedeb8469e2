"""Options report their own change, once the new values can be read."""

from mgr.config.schema import Schemas
from mgr.config.values import ConfigValues
from mgr.store.api import Record, Revision
from mgr.store.keys import Keys

KEYS = Keys("mgr")


def stored(section, name, value):
    key = KEYS.option(section, name)
    return {key: Record(key, value, Revision(1), Revision(1))}


def test_a_listener_reads_the_new_value(caplog):
    """Even if another listener failed before it; names come without their section."""
    values, seen = ConfigValues("a", Schemas(), KEYS), []

    def fails(_names):
        raise RuntimeError("boom")

    values.subscribe(fails)
    values.subscribe(lambda names: seen.append((names, values.stored("osd", "mgr/hello/place"))))
    records = stored("osd", "mgr/hello/place", "Rome")

    values.reload(records, records.keys())

    assert seen == [({"mgr/hello/place"}, "Rome")]
    assert "a changed option could not be acted on" in caplog.text
