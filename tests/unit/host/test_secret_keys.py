"""Which values are sealed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mgr.host.finder import DiscoveredModule
from mgr.host.secret_keys import secret_keys
from mgr.module_process.declarations import decode_declarations, encode_declarations
from mgr.store.keys import Keys

KEYS = Keys("test")


WEB = SimpleNamespace(secret_keys=("pin", "certs/"))
"""A module that marks entries."""


def decide(catalogue):
    config = SimpleNamespace(is_secret=lambda name: name == "mgr/web/pin")
    return secret_keys(KEYS, config, catalogue)


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        (KEYS.option("mgr.a", "mgr/web/pin"), True),
        (KEYS.option("mgr", "mgr/web/port"), False),
        (KEYS.change(7), True),
        (KEYS.module_entry("web", "pin"), True),
        (KEYS.module_entry("web", "pins"), False),
        (KEYS.module_entry("web", "certs/a/b"), True),
        (KEYS.module_entry("other", "pin"), False),
        (KEYS.module_entry("other", "registry_password"), True),
        (KEYS.entry("token"), True),
        (KEYS.entry("web/pin"), False),
        (KEYS.leader, False),
        (KEYS.request("r1"), False),
    ],
)
def test_a_value_is_secret_by_its_key(key, secret):
    """Marked options, their history, marked entries and what has the name of a secret."""
    assert decide({"web": WEB})(key) is secret


def test_a_module_that_appears_later_counts():
    """The catalogue of the worker changes when a module is reloaded."""
    catalogue = {}
    is_secret = decide(catalogue)
    key = KEYS.module_entry("web", "pin")
    assert not is_secret(key)

    catalogue["web"] = WEB

    assert is_secret(key)


def test_what_is_marked_crosses_from_the_process_that_imports_the_module():
    """The worker seals, and may never have imported it."""
    found = DiscoveredModule(name="web", place="here", secret_keys=("pin", "certs/"))

    assert decode_declarations(encode_declarations(found, "")).secret_keys == ("pin", "certs/")
