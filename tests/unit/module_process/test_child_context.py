"""What a module in a process of its own finds in its context, without a worker."""

import pytest

from mgr.module_api.context import ModuleContext
from mgr.module_process.child_context import ASKED, ChildContext
from tests.support.module_seed import seed


class Link:
    """Answers every request with what was asked."""

    def call(self, name, *args):
        return name, args


@pytest.fixture
def context():
    """A context whose worker says what it was asked."""
    return ChildContext(Link(), seed({}))


def test_a_process_has_the_whole_interface(context):
    """A method that is missing would be noticed by the first module that calls it."""
    names = [name for name in dir(ModuleContext) if not name.startswith("_")]

    assert [name for name in names if not hasattr(context, name)] == []


@pytest.mark.parametrize("name", sorted(ASKED))
def test_what_is_not_read_here_is_asked_of_the_worker(context, name):
    """Under the same name and with the same arguments."""
    assert getattr(context, name)("one", 2) == (name, ("one", 2))


def test_reading_an_attribute_of_a_context_runs_no_code(context):
    """A class with ``__getattr__`` makes every call of every module slower."""
    assert not hasattr(type(context), "__getattr__")
    assert not hasattr(context, "nothing_of_the_kind")
