"""The fixture comes with the installed product: nobody imports anything."""

from importlib.metadata import entry_points


def test_pytest_finds_the_plugin_by_itself():
    """An entry point of the distribution, as pytest looks for."""
    (point,) = [each for each in entry_points(group="pytest11") if each.name == "mgr"]

    assert point.value == "mgr.testing.plugin"
