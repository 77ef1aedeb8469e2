"""Which modules are switched on."""

from __future__ import annotations

import pytest

from mgr.config.enabled_modules import Switch, decode, encode, is_on


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
