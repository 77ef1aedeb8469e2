"""Options as modules declare them."""

from __future__ import annotations

import pytest

from mgr.config.manager_options import manager_options
from mgr.config.schema import OptionSpec, Schemas
from mgr.errors import InvalidArgumentError

DECLARED = {
    "name": "grace",
    "type": "secs",
    "level": 0,
    "default": 30,
    "desc": "How long",
    "long_desc": "How very long",
    "min": 5,
    "tags": ["time"],
    "see_also": ["other"],
    "runtime": True,
}


def test_a_declaration_is_read_whole():
    """The name becomes that of the cluster's configuration."""
    spec = OptionSpec.from_declaration(DECLARED, module="m")

    assert (spec.name, spec.short_name, spec.type, spec.level) == (
        "mgr/m/grace",
        "grace",
        "secs",
        "basic",
    )
    assert spec.see_also == ("mgr/m/other",)
    assert spec.default == 30
    assert spec.default_text == "30"
    assert spec.describe()["can_update_at_runtime"] is True
    assert spec.in_map()["default_value"] == "30"


@pytest.mark.parametrize(
    "declared",
    [{"name": "o"}, {"name": "o", "type": "Mystery"}, {"name": "o", "level": 9, "tags": "x"}],
)
def test_what_is_missing_or_strange_is_passed_over(declared):
    """Unknown types are text, unknown levels are advanced."""
    spec = OptionSpec.from_declaration(declared)

    assert (spec.type, spec.level, spec.tags, spec.runtime) == ("str", "advanced", (), False)


def test_runtime_is_true_only_if_it_is_true():
    """1 and 'yes' are not what the declaration asks for."""
    assert not OptionSpec.from_declaration({"name": "o", "runtime": 1}).runtime


def test_a_default_that_does_not_fit_leaves_the_operator_without_one():
    """The module gets it all the same."""
    spec = OptionSpec.from_declaration({"name": "o", "type": "int", "default": "many"})

    assert (spec.default, spec.default_text) == ("many", "")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"type": "int", "min": 10, "max": 1}, "no value is allowed: min 10 is above max 1"),
        ({"type": "size", "min": "2K", "max": "1K"}, "no value is allowed: min '2K' is above"),
        ({"type": "float", "min": float("nan"), "max": 1}, "no value is allowed: min nan is"),
        ({"type": "uint", "max": "ten"}, "max 'ten' is no uint: it is ignored"),
        ({"type": "wibble"}, "type 'wibble' is unknown: it is a str"),
    ],
)
def test_what_cannot_hold_of_a_declaration_is_named(fields, why):
    """Its author would wonder why no value can be set."""
    option = OptionSpec.from_declaration({"name": "n", **fields}, module="m")

    assert option.contradiction(fields["type"]).startswith(why)


@pytest.mark.parametrize("fields", [{}, DECLARED, {"type": "str", "min": 3}, {"type": ["int"]}])
def test_what_can_hold_is_not(fields):
    """What is merely strange is passed over."""
    option = OptionSpec.from_declaration({"name": "n", **fields})

    assert option.contradiction(fields.get("type")) == ""


def test_an_option_without_a_name_is_refused_and_nothing_changes():
    """A mistake of the module's author."""
    schemas = Schemas()
    with pytest.raises(InvalidArgumentError, match="without a name"):
        schemas.put("m", [DECLARED, {"type": "int"}])

    assert schemas.names() == []


def test_options_are_found_by_every_name_they_have():
    """Full, localized for any manager id; not by a wrong module."""
    schemas = Schemas(manager_options({}))
    schemas.put("m", [DECLARED])

    assert schemas.find("mgr/m/grace") == schemas.find("mgr/m/some.id/grace")
    assert schemas.find("mgr_tick_period").type == "secs"
    for name in ("mgr/n/grace", "mgr/m/", "mgr/m", "grace", "mgr/m/x/y/grace"):
        assert schemas.find(name) is None
    assert schemas.nearest("mgr/m/grac") == "mgr/m/grace"


def test_every_change_has_a_new_version():
    """Whoever keeps typed values knows when to read again."""
    schemas = Schemas()
    versions = [schemas.version]
    schemas.put("m", [DECLARED])
    versions.append(schemas.version)
    schemas.drop("m")
    versions.append(schemas.version)

    assert len(set(versions)) == 3
    assert schemas.of("m") == {}


def test_the_managers_own_options_have_defaults_that_fit():
    """Nobody may be surprised by an option that refuses its own default."""
    for spec in manager_options({"fsid": "x"}):
        assert spec.desc
        if not spec.fixed:
            assert spec.normalise(str(spec.default)) == spec.default_text
