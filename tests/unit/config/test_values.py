"""Which value holds."""

from __future__ import annotations

import pytest

from mgr.config.manager_options import manager_options
from mgr.config.schema import Schemas
from mgr.config.values import ConfigValues, StoredOption
from mgr.errors import InvalidArgumentError
from mgr.store.api import Record, Revision
from mgr.store.keys import Keys

KEYS = Keys("test")


def values():
    schemas = Schemas(manager_options({"fsid": "f"}))
    schemas.put("m", [{"name": "n", "type": "int"}, {"name": "s", "default": "d"}])
    return ConfigValues("a", schemas, KEYS)


def stored(settings):
    """Records, as the mirror would show them, of ``{(section, name): text}``."""
    one = Revision(1)
    keys = {KEYS.option(*where): text for where, text in settings.items()}
    return {key: Record(key, text, one, one) for key, text in sorted(keys.items())}


def test_the_most_specific_section_wins():
    """Global < mgr < mgr.<id>; another manager's section is not ours."""
    held = values()
    held.load(
        stored(
            {
                ("global", "mgr/m/n"): "1",
                ("mgr", "mgr/m/n"): "2",
                ("mgr.a", "mgr/m/n"): "3",
                ("mgr.b", "mgr/m/n"): "4",
                ("osd", "mgr/m/n"): "5",
            }
        )
    )

    assert held.effective("mgr/m/n") == "3"
    assert held.entity("mgr.b")["mgr/m/n"] == StoredOption("mgr.b", "mgr/m/n", "4")
    assert held.entity("mgr.c")["mgr/m/n"].value == "2"
    assert held.entity("osd.1")["mgr/m/n"].value == "5"
    assert held.entity("global")["mgr/m/n"].value == "1"


def test_an_option_name_may_hold_slashes_and_dots():
    """The section ends at the first slash."""
    held = values()
    held.load(stored({("mgr.a.b", "mgr/m/a.b/n"): "1"}))

    assert held.dump() == [StoredOption("mgr.a.b", "mgr/m/a.b/n", "1")]


def test_a_removed_option_is_gone_at_once_and_is_reported():
    """In Ceph it stays until the manager restarts."""
    held = values()
    assert held.load(stored({("mgr", "mgr/m/n"): "1", ("mgr", "mgr/m/s"): "x"})) == {
        "mgr/m/n",
        "mgr/m/s",
    }
    assert held.load(stored({("mgr", "mgr/m/s"): "x"})) == {"mgr/m/n"}
    assert held.load(stored({("mgr", "mgr/m/s"): "x", ("osd", "mgr/m/n"): "1"})) == frozenset()

    assert held.effective("mgr/m/n") is None
    assert held.typed("m", "n") is None


def test_an_empty_text_means_the_default():
    """It hides less specific values, too."""
    held = values()
    held.load(stored({("mgr", "mgr/m/s"): "x", ("mgr.a", "mgr/m/s"): ""}))

    assert held.effective("mgr/m/s") is None
    assert held.typed("m", "s") is None


def test_typed_values_are_those_that_are_stored():
    """A new value, a new declaration: never yesterday's."""
    held = values()
    held.load(stored({("mgr", "mgr/m/n"): "1"}))
    assert held.typed("m", "n") == held.typed("m", "n") == 1
    held.load(stored({("mgr", "mgr/m/n"): "2"}))
    assert held.typed("m", "n") == 2
    held.schemas.put("m", [{"name": "n", "type": "str"}])
    assert held.typed("m", "n") == "2"
    assert held.typed("m", "s") is held.typed("x", "n") is None


def test_a_localized_value_is_preferred_where_it_is_asked_for():
    """``mgr/<module>/<id>/<option>``, else the plain one."""
    held = values()
    held.load(stored({("mgr", "mgr/m/n"): "1", ("mgr", "mgr/m/a/n"): "2", ("mgr", "mgr/m/s"): "x"}))

    assert held.typed("m", "n", localized=True) == 2
    assert held.typed("m", "n") == 1
    assert held.typed("m", "s", localized=True) == "x"
    assert held.typed("m", "a/n") == 2, "by the name of a manager, any one's"
    assert held.typed("m", "b/n") is None


def test_text_that_does_not_fit_is_a_value_error_each_time():
    """Stored by force; the reader hears of it, not only the first one."""
    held = values()
    held.load(stored({("mgr", "mgr/m/n"): "many"}))

    for _ in range(2):
        with pytest.raises(ValueError, match="many"):
            held.typed("m", "n")


def test_the_managers_own_options_are_typed_and_have_defaults():
    """An unknown one is a KeyError in Ceph's words."""
    held = values()
    held.load(stored({("mgr", "mgr_tick_period"): "7"}))

    assert held.manager_option("mgr_tick_period") == 7.0
    assert held.manager_option("mgr_stats_period") == 5
    assert held.manager_option("debug_mgr") == "4/5"
    assert held.manager_option("fsid") == "f"
    assert held.manager_option("log_file") == ""
    with pytest.raises(KeyError, match="option not found: osd_max"):
        held.manager_option("osd_max")


def test_what_modules_of_ceph_read_at_their_start_has_its_value():
    """As numbers, texts and bytes; what an operator of Ceph had set is taken over."""
    held = values()
    held.load(stored({("mon", "mon_target_pg_per_osd"): "200"}))

    assert held.manager_option("target_max_misplaced_ratio") == 0.05
    assert held.manager_option("mon_osd_min_in_ratio") == 0.75
    assert held.manager_option("device_failure_prediction_mode") == "none"
    assert held.manager_option("osd_memory_target") == 4 << 30
    assert held.manager_option("mon_target_pg_per_osd") == 100
    assert held.manager_option_of("mon", "mon_target_pg_per_osd") == 200


@pytest.mark.parametrize("who", ["", "mgr/", ".a", "mgr.", "a b", "mgr/host:x", "global.a", "é"])
def test_a_target_is_a_type_or_a_daemon(who):
    """It becomes part of a key: no slash gets in."""
    with pytest.raises(InvalidArgumentError, match="unrecognized config target"):
        values().prepare(who, "mgr_tick_period", "1", force=True)


def test_a_write_is_prepared_normalised():
    """The key is spelled in one place, the text is checked here."""
    put = values().prepare("mgr", "mgr/m/n", "4K")

    assert (put.key, put.value) == (KEYS.option("mgr", "mgr/m/n"), "4000")


def test_an_option_is_read_as_another_manager_would_read_it():
    """Its sections count, not ours; where they say nothing, the default holds."""
    held = values()
    held.load(stored({("mgr.b", "mgr_stats_period"): "9", ("mgr.a", "mgr_tick_period"): "4"}))

    assert held.manager_option_of("mgr.b", "mgr_stats_period") == 9
    assert held.manager_option_of("mgr.a", "mgr_stats_period") == 5
    assert held.manager_option_of("mgr.b", "mgr_tick_period") == 2
    with pytest.raises(KeyError, match="option not found: nothing"):
        held.manager_option_of("mgr.b", "nothing")
    with pytest.raises(KeyError, match="invalid entity: no one"):
        held.manager_option_of("no one", "mgr_stats_period")
