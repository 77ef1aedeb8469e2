"""What somebody else wrote into the store may be anything: it harms no manager."""

from typing import ClassVar

import pytest

from mgr.module_api.module import MgrModule
from mgr.module_api.option import Option
from mgr.store.api import Record
from tests.unit.active.conftest import command_table, discovered_module

NESTED = '{"x":' + "[" * 50_000 + "]" * 50_000 + "}"
VALUES = ("", "null", "[]", "{}", '{"name":1}', "9" * 5000, "\udcff", NESTED)
PLACES = (
    "modules/odd",
    "modules/",
    "managers/z",
    "config/mgr/mgr/odd/number",
    "config/mgr/mgr/odd/size",
    "config/no such section/x",
    "config/mgr",
    "config/",
    "config-history/1",
    "kv/mgr/odd/key",
    "kv/mgr",
    "services/odd",
    "mutes/ODD",
    "daemons/osd.1",
    "maps/odd",
    "requests/r1",
    "health",
    "transfer",
)


class Odd(MgrModule):
    COMMANDS = command_table("odd")
    MODULE_OPTIONS: ClassVar = [
        Option("number", type="int", default=1),
        Option("size", type="size"),
    ]

    def handle_command(self, _inbuf, _cmd):
        return 0, str(self.get_module_option("number")), ""


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:12].encode("ascii", "replace"))
async def test_garbage_in_the_store_is_survived(active, value):
    """By the active that sees it come; each of its own commands is still answered."""
    async with active(discovered_module("odd", Odd), enabled=["odd"]) as cluster:
        mirror = cluster.mirror
        for revision, place in enumerate(PLACES, mirror.revision + 1000):
            # As a feed shows it: the store in memory takes nothing that is no UTF-8.
            record = Record(f"{cluster.keys.root}{place}", value, revision, revision)
            mirror.note_own([record], [], revision)
        for words in (
            ("status",),
            ("health", "detail"),
            ("mgr", "module", "ls"),
            ("config", "dump"),
        ):
            answer = await cluster.ask(*words, format="json")
            assert answer.retval == 0, answer
