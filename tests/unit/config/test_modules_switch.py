"""Which modules are switched on."""

from __future__ import annotations

import pytest

from mgr.config.enabled_modules import Switch, decode, enabled_modules, encode, is_on
from mgr.store.api import Record
from mgr.store.keys import Keys


@pytest.mark.parametrize(
    ("switch", "always_on", "default", "on"),
    [
        (None, False, False, False),
        (None, False, True, True),
        (None, True, False, True),
        (Switch(enabled=True), False, False, True),
        (Switch(enabled=False), False, True, False),
        (Switch(enabled=False), True, False, True),
        (Switch(forced_off=True), True, True, False),
    ],
)
def test_a_record_decides_where_there_is_one(switch, always_on, default, on):
    """An always-on module goes off by force only."""
    assert is_on(switch, always_on=always_on, default=default) is on


def test_an_unreadable_record_decides_nothing(caplog):
    """Somebody's hand in etcd must not stop a manager."""
    assert decode("{") is None
    assert "unreadable module record" in caplog.text
    assert decode(encode(Switch(enabled=True))) == Switch(enabled=True)


class Stored:
    """The records of a cluster, as the mirror has them."""

    def __init__(self, **switches):
        self.keys = Keys("c")
        self._records = {
            self.keys.module(name): Record(self.keys.module(name), encode(switch), 1, 1)
            for name, switch in switches.items()
        }

    def list(self, prefix):
        return {key: one for key, one in self._records.items() if key.startswith(prefix)}


def test_what_only_the_default_enables_must_be_present():
    """``bundled_skip`` leaves out ours: nobody asked for them, so nothing is missing."""
    none, asked = Stored(), Stored(crash=Switch(enabled=True), progress=Switch(enabled=False))

    assert enabled_modules(none, none.keys, set(), {"crash", "mine"}) == ["crash"]
    assert enabled_modules(none, none.keys, {"always"}, {"always"}) == ["always"]
    assert enabled_modules(asked, asked.keys, set(), {"progress"}) == ["crash"], "asked for"
