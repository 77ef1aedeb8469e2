"""What streams leave on the heap: set aside while they last, and not for ever."""

import gc
import weakref

import pytest

from mgr.active.fleet.gc_tuning import ENDED_MIN, OPENED_MIN, YOUNG, GcTuner


@pytest.fixture(autouse=True)
def thawed():
    """No test leaves anything set aside for the others, or collected less often."""
    thresholds = gc.get_threshold()
    gc.unfreeze()
    gc.collect()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Stream:
    """Refers to itself, as what serves a stream may."""

    def __init__(self):
        self.own = self


def test_a_fleet_that_joins_is_set_aside():
    """No full collection walks over it again."""
    GcTuner().tune(OPENED_MIN, 0)

    assert gc.get_freeze_count() > 0


def test_a_few_streams_are_not_worth_it():
    """Nothing is done for less than a hundred."""
    GcTuner().tune(OPENED_MIN - 1, 0)

    assert gc.get_freeze_count() == 0


def test_what_was_set_aside_and_has_died_is_freed_in_the_end():
    """A cycle that nobody reaches goes once as many streams have ended as are open."""
    gc_tuner = GcTuner()
    stream = Stream()
    dead = weakref.ref(stream)
    gc_tuner.tune(3 * ENDED_MIN, 0)
    del stream

    gc_tuner.tune(3 * ENDED_MIN, ENDED_MIN)
    assert dead() is not None

    gc_tuner.tune(3 * ENDED_MIN, 2 * ENDED_MIN)
    assert dead() is None
    assert gc.get_freeze_count() > 0


def test_a_small_fleet_that_comes_and_goes_is_looked_at_now_and_then():
    """A full collection is not made for a few streams, however small the fleet."""
    gc_tuner = GcTuner()
    stream = Stream()
    dead = weakref.ref(stream)
    gc_tuner.tune(OPENED_MIN, 0)
    del stream

    gc_tuner.tune(ENDED_MIN, ENDED_MIN - 1)
    assert dead() is not None

    gc_tuner.tune(ENDED_MIN + 1, ENDED_MIN)
    assert dead() is None


def test_the_young_are_looked_at_less_often():
    """What is replaced with every report is young, and there is nothing to find in it."""
    GcTuner()

    assert gc.get_threshold()[0] == YOUNG
