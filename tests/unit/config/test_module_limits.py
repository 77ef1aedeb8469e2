"""Limits of modules: what their options accept, and what takes effect for which module."""

import pytest

from mgr.config.manager_options import manager_options
from mgr.config.module_limits import (
    COMMAND_MAX,
    CPU_WEIGHT,
    MEMORY_MAX,
    NO_LIMITS,
    OPEN_FILES_MAX,
    PROCESSES_MAX,
    ModuleLimits,
    limit_of,
    limits_of,
    normalised,
)
from mgr.errors import InvalidArgumentError


def test_a_module_has_its_own_value_else_that_of_all():
    """0 takes the limit of all away from one."""
    options = {
        MEMORY_MAX: "512M hello=2G",
        OPEN_FILES_MAX: "hello=256",
        PROCESSES_MAX: "64 hello=0",
        CPU_WEIGHT: "hello=20",
        COMMAND_MAX: "60 hello=0.5",
    }

    assert limits_of("hello", options.get) == ModuleLimits(2 << 30, 256, 0, 20, 0.5)
    assert limits_of("other", options.get) == ModuleLimits(512 << 20, 0, 64, 100, 60)
    assert limits_of("hello", {}.get) == NO_LIMITS


@pytest.mark.parametrize(
    ("name", "text", "stored"),
    [
        (MEMORY_MAX, "b=1G,  512M a=64M", "536870912 a=67108864 b=1073741824"),
        (COMMAND_MAX, "a=0.5 10", "10 a=0.5"),
        (PROCESSES_MAX, "", ""),
    ],
)
def test_a_text_is_stored_in_one_form(name, text, stored):
    """Sizes in bytes, the value of all first."""
    assert normalised(name, text) == stored
    assert normalised(name, stored) == stored


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (MEMORY_MAX, "1K", "the value is 0 or from 33554432 to"),
        (MEMORY_MAX, "a=x", "Expected option value to be integer"),
        (OPEN_FILES_MAX, "a b=64", "Expected option value to be integer"),
        (PROCESSES_MAX, "A!=64", "is not MODULE="),
        (CPU_WEIGHT, "a=20000", "the value is 0 or from 1 to 10000"),
        (COMMAND_MAX, "a=1 a=2", "named twice"),
        (COMMAND_MAX, "nan", "the value is 0 or from"),
    ],
)
def test_a_malformed_text_is_refused(name, text, why):
    """By the option, so that it is never stored without --force."""
    spec = next(each for each in manager_options({}) if each.name == name)

    with pytest.raises(InvalidArgumentError, match=why):
        spec.normalise(text)


def test_malformed_words_that_were_stored_by_force_are_skipped():
    """The others take effect."""
    assert limit_of("a", MEMORY_MAX, {MEMORY_MAX: "nonsense a=64M"}.get) == 64 << 20
