"""Provides Ceph's Python bindings, or stand-ins for them on a host without Ceph.

Many modules import ``rados``, ``rbd`` or ``cephfs`` and use them rarely or never. If the real
bindings are on the import path, they are used. Otherwise a stand-in is imported: its classes can
be named, caught and derived from, and constructing one raises an error that names what is missing.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

NAMES: Final = ("rados", "rbd", "cephfs")
ALIASES: Final = {"orchestrator": "mgr_orchestrator"}
"""Names of Ceph's modules that others import from, and our package with the same names. Ceph's own
module on the module path takes precedence (docs/adr/0066)."""
COLLECTIONS: Final = frozenset({("rbd", "RBD")})
"""Classes that only collect functions: constructing one reaches no cluster, and modules do so when
they are imported."""


class NoCephError(RuntimeError):
    """A module tried to use a Ceph cluster, and this host has no access to one."""

    errno = errno.ENOENT

    def __str__(self) -> str:
        return str(self.args[0])


def no_ceph(why: str) -> NoCephError:
    """Make the error to raise, which is also a ``rados.ObjectNotFound``.

    Without a cluster there is no pool and no object. A module that handles a missing object then
    handles a missing cluster in the same way.
    """
    not_found = getattr(sys.modules.get("rados"), "ObjectNotFound", None)
    if not_found is None:
        return NoCephError(why)
    error: NoCephError = type("NoCephError", (NoCephError, not_found), {})(why)
    return error


class StandIn(ModuleType):
    """A Python module that provides a placeholder for every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        # Constants are upper case and contain an underscore; RBD is a class.
        constant = name.isupper() and "_" in name
        place = self.__name__, name
        make = _collection if place in COLLECTIONS else _placeholder
        stand_in: Any = 0 if constant else make(*place)
        setattr(self, name, stand_in)
        return stand_in


class Alias(ModuleType):
    """A Python module with the public names of another one."""

    def __init__(self, name: str, of: ModuleType) -> None:
        super().__init__(name, of.__doc__)
        vars(self).update({each: getattr(of, each) for each in of.__all__})


class _StandInFinder(MetaPathFinder, Loader):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import machinery's
        target: ModuleType | None = None,  # noqa: ARG002 - as above
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in (*NAMES, *ALIASES) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if spec.name in ALIASES:
            return Alias(spec.name, importlib.import_module(ALIASES[spec.name]))
        return StandIn(spec.name, f"Stands for Ceph's {spec.name!r}, which is not on this host.")

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: ``StandIn`` creates its attributes when they are used."""


_FINDER: Final = _StandInFinder()


def install_stand_ins() -> Callable[[], None]:
    """Make these names importable from now on; real bindings take precedence.

    Returns a function that undoes this and removes the imported stand-ins; for tests.
    """
    if _FINDER in sys.meta_path:
        return lambda: None
    sys.meta_path.append(_FINDER)
    return _uninstall


def _uninstall() -> None:
    sys.meta_path.remove(_FINDER)
    for name in (*NAMES, *ALIASES):
        if isinstance(sys.modules.get(name), StandIn | Alias):
            del sys.modules[name]


def bindings_of(name: str) -> ModuleType:
    """Import the real bindings.

    Raises:
        ImportError: They are not on this host.

    """
    module = importlib.import_module(name)
    if isinstance(module, StandIn):
        raise ImportError(f"no module named {name!r}", name=name)  # noqa: TRY004 - what an import says
    return module


def _collection(bindings: str, name: str) -> type:
    def function(self: object, attribute: str) -> Callable[..., Any]:  # noqa: ARG001 - a method
        def refuse(*args: Any, **kwargs: Any) -> Any:  # noqa: ARG001 - any function's
            raise no_ceph(f"Ceph's Python bindings {bindings!r} are not on this host")

        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return refuse

    return type(name, (), {"__getattr__": function, "__module__": bindings})


def _placeholder(bindings: str, name: str) -> type[Exception]:
    def refuse(self: Exception, *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - any constructor's
        raise no_ceph(f"Ceph's Python bindings {bindings!r} are not on this host")

    # An exception, because many of these names are used in except clauses.
    return type(name, (Exception,), {"__init__": refuse, "__module__": bindings})
