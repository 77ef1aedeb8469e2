"""Options that modules declare wrongly, and the order in which modules are read."""

import pytest

from mgr.host.finder import DiscoveredModule, find_modules
from mgr.host.worker_context import known_options
from mgr.settings import Settings

GOOD = "from mgr_module import MgrModule\n\nclass Module(MgrModule): pass\n"


@pytest.mark.parametrize("option", ["''", "5", "None"])
async def test_an_option_whose_name_is_no_text_stops_its_module_and_no_manager(
    folder, write, option
):
    """In a standby class its options are ignored. A worker knows the options of every module."""
    write(
        "finder_unnamed",
        f"""
        from mgr_module import MgrModule

        class Module(MgrModule):
            MODULE_OPTIONS = [{{"name": {option}}}]
        """,
    )
    write(
        "finder_standby",
        f"""
        from mgr_module import MgrModule, MgrStandbyModule

        class Module(MgrModule):
            pass

        class StandbyModule(MgrStandbyModule):
            MODULE_OPTIONS = [{{"name": {option}}}]
        """,
    )

    modules = await find_modules([str(folder)], skip=["all"], limit_s=60)

    known_options(Settings(), "host", modules)
    assert modules["finder_unnamed"].error == (
        "Missing or invalid MODULE_OPTIONS attribute: the name of entry 1 is no text: "
        f"{eval(option)!r}"
    )
    assert modules["finder_standby"].has_standby


async def test_an_option_that_contradicts_itself_is_named_at_load(folder, write, caplog):
    """The module loads: others of its options are well."""
    write(
        "finder_bounds",
        """
        from mgr_module import MgrModule, Option

        class Module(MgrModule):
            MODULE_OPTIONS = [Option("n", type="int", min=10, max=1), Option("m", type="int")]
        """,
    )

    assert (await find_modules([str(folder)], limit_s=60))["finder_bounds"].loaded
    [line] = [each for each in caplog.records if hasattr(each, "option")]
    assert (line.option, line.why) == (
        "mgr/finder_bounds/n",
        "no value is allowed: min 10 is above max 1",
    )


async def test_enabled_modules_are_read_before_the_others(folder, write):
    """Others may take all the time that there is."""
    for name in ("finder_a", "finder_b", "finder_c"):
        write(name, GOOD)
    begun = []

    async def declare(location):
        begun.append(location.name)
        return DiscoveredModule(name=location.name, place=location.place)

    await find_modules(
        [str(folder)], skip=["all"], limit_s=5, declare=declare, first=["finder_c", "finder_b"]
    )

    assert begun == ["finder_b", "finder_c", "finder_a"]
