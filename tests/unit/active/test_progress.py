"""Progress, from a module's own thread to ``status``."""

import json

from mgr.module_api.module import MgrModule
from tests.unit.active.conftest import command_table, discovered_module


class Mover(MgrModule):
    COMMANDS = command_table("move on")

    def handle_command(self, _inbuf, _cmd):
        self.update_progress_event("1", "Moving", 7, add_to_ceph_s=True)
        self.update_progress_event("2", "Done", 0.5, add_to_ceph_s=True)
        self.complete_progress_event("2")
        return 0, "", ""


async def test_what_a_module_reports_is_in_status_until_it_stops(active):
    """Nothing of it is left behind, as nobody would complete it."""
    async with active(discovered_module("mover", Mover), enabled=["mover"]) as cluster:

        async def events():
            return json.loads((await cluster.ask("status", format="json")).stdout)[
                "progress_events"
            ]

        await cluster.ask("move", "on")
        assert await events() == {
            "1": {"message": "Moving", "progress": 1.0, "add_to_ceph_s": True}
        }

        await cluster.switch("mover", on=False)
        await cluster.until(lambda: cluster.role._modules.instance_of("mover") is None)
        await cluster.until(lambda: not cluster.role._progress.events)


async def test_a_progress_that_is_no_number_is_none(active):
    """One module's division of zero by zero must not cost everybody ``status``."""

    class Lost(MgrModule):
        COMMANDS = command_table("lose way")

        def handle_command(self, _inbuf, _cmd):
            self.update_progress_event("1", "Lost", float("nan"), add_to_ceph_s=True)
            return 0, "", ""

    async with active(discovered_module("lost", Lost), enabled=["lost"]) as cluster:
        await cluster.ask("lose", "way")
        answer = await cluster.ask("status")

    assert answer.retval == 0
    assert "Lost" in answer.stdout
