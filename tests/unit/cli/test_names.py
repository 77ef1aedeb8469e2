"""Completion of what only the active knows: names."""

from __future__ import annotations

import pytest

from mgr.cli.command_cache import CachedCommand, CommandTable
from mgr.cli.complete import suggestions

DOCUMENTS = {
    ("mgr", "module", "ls"): {
        "always_on_modules": ["devicehealth"],
        "enabled_modules": ["hello"],
        "disabled_modules": [{"name": "crash", "can_run": True}],
        "module_effects": {"hello": {}},
    },
    ("config", "ls"): ["mgr/hello/place", "debug_mgr"],
    ("daemon", "ls"): [{"name": "rgw.eu-1", "type": "rgw"}],
    ("mgr", "metadata"): [{"name": "a"}, {"name": "b"}],
}
TABLE = CommandTable(
    commands=tuple(
        CachedCommand(signature, "", "rw", poll=False, module="mgr", hidden=False)
        for signature in (
            "mgr module enable name=module,type=CephString",
            "config set name=who,type=CephString name=name,type=CephString name=value,type=CephInt",
            "config get name=who,type=CephString name=key,type=CephString,req=false",
            "daemon rm name=name,type=CephString",
            "mgr fail name=who,type=CephString,req=false",
            "map rm name=name,type=CephString",
        )
    )
)


@pytest.mark.parametrize(
    ("words", "incomplete", "names"),
    [
        (["mgr", "module", "enable"], "", ["crash", "devicehealth", "hello"]),
        (["mgr", "module", "enable"], "he", ["hello"]),
        (["config", "set"], "", ["global", "mgr", "mgr.a", "mgr.b"]),
        (["config", "set", "mgr"], "", ["mgr/hello/place", "debug_mgr"]),
        (["config", "get", "mgr"], "deb", ["debug_mgr"]),
        (["config", "set", "mgr", "debug_mgr"], "", []),
        (["daemon", "rm"], "", ["rgw.eu-1"]),
        (["mgr", "fail"], "", ["a", "b"]),
        (["tell"], "", ["mgr", "rgw.eu-1", "mgr.a", "mgr.b"]),
        (["map", "rm"], "", []),
    ],
)
def test_names_are_completed(words, incomplete, names):
    """Where an argument names something that the active can list."""
    found = suggestions(TABLE, words, incomplete, DOCUMENTS.get)

    assert [word for word, _ in found] == names


@pytest.mark.parametrize("document", [None, 5, {"x": None}, [{"no": "name"}, 7]])
def test_an_odd_answer_completes_nothing(document):
    """A line that is being typed is no place for an error."""
    for words in (["mgr", "module", "enable"], ["daemon", "rm"], ["config", "set", "mgr"]):
        assert suggestions(TABLE, words, "", lambda _: document) == []
