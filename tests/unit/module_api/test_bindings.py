"""Ceph's Python bindings on a host that has none: named at import, refused at use."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from mgr.module_api import bindings
from mgr.module_api.bindings import NoCephError


@pytest.fixture(autouse=True)
def offered(monkeypatch):
    """The offer stands for this test only; so does what it imported."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in bindings.NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    bindings.offer()
    yield
    for name in bindings.NAMES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", bindings.NAMES)
def test_a_module_that_names_them_is_imported(name):
    """Its classes can be caught, derived from and compared; a flag is a number."""
    stand_in = importlib.import_module(name)

    class Own(stand_in.Error):
        pass

    assert issubclass(Own, Exception)
    assert stand_in.ObjectNotFound is stand_in.ObjectNotFound
    assert stand_in.LIBRADOS_ALL_NSPACES | 1 == 1


def test_whoever_makes_one_hears_what_is_missing():
    """Not an attribute error three calls later."""
    with pytest.raises(NoCephError, match="'rados' are not on this host"):
        importlib.import_module("rados").Rados(conffile="")


def test_they_are_not_taken_for_the_real_ones():
    """The product's own use of them says that there are none."""
    with pytest.raises(ImportError, match="rbd"):
        bindings.bindings_of("rbd")


def test_the_real_ones_come_first(tmp_path, monkeypatch):
    """Whatever is on the import path, before or after the offer."""
    (tmp_path / "rbd.py").write_text("RBD = 'real'\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert bindings.bindings_of("rbd").RBD == "real"
    assert isinstance(sys.modules["rbd"], types.ModuleType)
