"""Ceph's Python bindings on a host that has none: named at import, refused at use."""

from __future__ import annotations

import errno
import importlib
import sys
import types

import pytest

from mgr.module_api.ceph import bindings
from mgr.module_api.ceph.bindings import NoCephError
from mgr.module_api.module import MgrModule
from tests.support.context import run


@pytest.fixture(autouse=True)
def offered(monkeypatch):
    """The offer stands for this test only; so does what it imported."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in bindings.NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    bindings.install_stand_ins()
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


def test_constructing_one_raises_what_is_missing():
    """Not an attribute error three calls later."""
    with pytest.raises(NoCephError, match="'rados' are not on this host"):
        importlib.import_module("rados").Rados(conffile="")
    with pytest.raises(NoCephError, match="'rbd' are not on this host"):
        importlib.import_module("rbd").Image(None, "name")


def test_a_class_that_only_collects_functions_can_be_constructed():
    """The dashboard does so when it is imported; the first function says what is missing."""
    rbd = importlib.import_module("rbd").RBD()

    with pytest.raises(NoCephError, match="'rbd' are not on this host"):
        rbd.list("pool")
    assert not hasattr(rbd, "__len__")


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


def test_a_host_without_ceph_has_no_pool_either():
    """A module that looks for one which need not be there takes it for missing, and goes on."""
    rados = importlib.import_module("rados")

    with pytest.raises(rados.ObjectNotFound, match="'rados' are not on this host") as raised:
        _ = run(MgrModule)[0].rados
    assert isinstance(raised.value, NoCephError)
    assert raised.value.errno == errno.ENOENT


def test_so_it_is_with_bindings_that_know_of_no_cluster(monkeypatch):
    """Whose errors have an errno and a text of their own."""

    class ObjectNotFound(Exception):  # noqa: N818 - Ceph's name
        def __str__(self):
            return f"[errno {self.number}]"

    real = types.ModuleType("rados")
    real.ObjectNotFound = ObjectNotFound
    monkeypatch.setitem(sys.modules, "rados", real)
    monkeypatch.setenv("CEPH_CONF", "/nowhere/ceph.conf")

    with pytest.raises(ObjectNotFound, match=r"'/nowhere/ceph\.conf' cannot be read"):
        _ = run(MgrModule)[0].rados


def test_where_nobody_named_the_bindings_the_error_is_plain():
    """There is nobody who could catch it by another name."""
    assert type(bindings.no_ceph("so")) is NoCephError
