"""A new module: it is written whole, under its own name, or not at all."""

import pytest

from mgr.authoring.scaffold import AlreadyThereError, create_module
from mgr.authoring.source import ModuleSource
from mgr.errors import InvalidArgumentError
from mgr.testing.host import Host


def test_a_new_module_loads_under_its_own_name(tmp_path):
    """Its commands, health code, test and page are called like it; nothing of the template is."""
    folder = create_module("greet", tmp_path)

    with Host() as host:
        host.load(folder)
        assert host.usages() == [
            "greet add <name>",
            "greet ls [--format <format>]",
            "greet rm <name>",
        ]
        host.run("greet add Ann")
        host.set_option("limit", 0)
        assert list(host.health) == ["GREET_TOO_MANY"]
    source = ModuleSource.at(folder)
    assert [each.name for each in source.tests()] == ["test_greet.py"]
    for path in source.files():
        assert "example" not in path.read_text().lower(), path.name


def test_what_is_there_already_is_not_touched(tmp_path):
    """EEXIST, and its name."""
    create_module("greet", tmp_path)
    (tmp_path / "greet/module.py").write_text("mine")

    with pytest.raises(AlreadyThereError, match=r"greet is there already"):
        create_module("greet", tmp_path)

    assert (tmp_path / "greet/module.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["Greet", "1st", "a-b", "", "class", "json", "../x", "x" * 64])
def test_a_name_that_makes_trouble_is_refused(tmp_path, name):
    """Nothing is written."""
    with pytest.raises(InvalidArgumentError, match="a new module cannot be called"):
        create_module(name, tmp_path)

    assert list(tmp_path.iterdir()) == []
