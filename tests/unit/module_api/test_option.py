"""Options: how a module declares them, and those that every module has."""

import pytest

from mgr.module_api.option import (
    Option,
    OptionLevel,
    names_of,
    register_options,
    standard_options,
)

STANDARD = ["log_level", "log_to_file", "sqlite3_killpoint", "log_to_cluster"]


def test_an_option_is_a_plain_dictionary_of_what_was_given():
    """None means "not given"; what has a default is always there."""
    assert Option("a") == {
        "name": "a",
        "level": OptionLevel.ADVANCED,
        "type": "str",
        "runtime": False,
    }
    assert Option("a", default=0, min=0, max=9, enum_allowed=["x"])["max"] == 9
    assert type(dict(Option("a"))) is dict


def test_levels_are_numbers():
    """They are stored as such."""
    assert [int(level) for level in OptionLevel] == [0, 1, 2, 3]


def test_every_module_has_five_more_options():
    """Appended to its own list, which modules read to find out what they have."""
    own = [Option("place", default="World")]
    cls = type("Module", (), {"MODULE_OPTIONS": own})

    register_options(cls)

    assert cls.MODULE_OPTIONS is own
    assert [each["name"] for each in own] == ["place", *STANDARD, "log_to_cluster_level"]
    assert all(each["runtime"] is True for each in standard_options())


def test_asking_twice_adds_nothing():
    """The host and a test may both register."""
    cls = type("Module", (), {"MODULE_OPTIONS": []})

    register_options(cls)
    register_options(cls)

    assert len(cls.MODULE_OPTIONS) == 5


def test_a_modules_own_declaration_of_a_standard_option_stands():
    """Several of Ceph's modules declare log_to_cluster themselves, with another default."""
    cls = type("Module", (), {"MODULE_OPTIONS": [Option("log_to_cluster", "bool", default=True)]})

    register_options(cls)

    assert [each["name"] for each in cls.MODULE_OPTIONS].count("log_to_cluster") == 1
    assert cls.MODULE_OPTION_DEFAULTS["log_to_cluster"] is True


def test_a_list_is_not_shared_between_modules():
    """One that is inherited, or none at all, becomes the class's own; a tuple becomes a list."""
    shared = type("Base", (), {"MODULE_OPTIONS": [Option("a")]})
    one, two = type("One", (shared,), {}), type("Two", (), {})
    frozen = type("Frozen", (), {"MODULE_OPTIONS": (Option("a"),)})

    for cls in (one, two, frozen):
        register_options(cls)

    assert len(shared.MODULE_OPTIONS) == 1
    assert names_of(one.MODULE_OPTIONS) == {"a"} | names_of(two.MODULE_OPTIONS)
    assert isinstance(frozen.MODULE_OPTIONS, list)


def test_a_default_is_as_written_or_text_where_no_type_is_declared():
    """So that an untyped option reads as text wherever its value comes from."""
    cls = type(
        "Module",
        (),
        {
            "MODULE_OPTIONS": [
                Option("typed", type="secs", default=5),
                {"name": "untyped", "default": 5},
                {"name": "bare"},
                Option("none"),
            ]
        },
    )

    register_options(cls)

    defaults = cls.MODULE_OPTION_DEFAULTS
    assert defaults["typed"] == 5
    assert defaults["untyped"] == "5"
    assert {"bare", "none"}.isdisjoint(defaults)


@pytest.mark.parametrize("options", ["nonsense", [{"type": "int"}], ["name"], {"name": "a"}])
def test_a_list_that_cannot_be_read_says_so(options):
    """In Ceph's words."""
    with pytest.raises(ValueError, match="Missing or invalid MODULE_OPTIONS attribute"):
        register_options(type("Module", (), {"MODULE_OPTIONS": options}))
