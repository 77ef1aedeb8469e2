"""Dictionaries and lists that belong to one caller, made from read-only shared ones on access.

``owned(document)`` copies only the top level. A nested dictionary or list is replaced by a copy of
its own top level when the caller reads it, so that the caller may change it at every level and
pays only for the levels that it reads. Once all children were read, no method is overridden any
more.

Code in C that reads the storage of a list directly (``heapq``) may still see a shared child. It
refuses changes (``mgr.cluster.frozen``), so no other reader is ever affected.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, ItemsView, Iterator, ValuesView
from typing import Any, Final, SupportsIndex

import yaml

from mgr.cluster.frozen import FlatFrozenDict, FlatFrozenList, FrozenDict, FrozenList

_REQUIRED: Final = object()
"""Default of ``pop`` that was not given."""


class WholeDict(dict[Any, Any]):
    """A dictionary of one caller, whose children all belong to the caller."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        memo[id(self)] = made
        for key, value in dict.items(self):
            made[key] = copy.deepcopy(value, memo)
        return made

    def __copy__(self) -> dict[Any, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[list[tuple[Any, Any]]]]:
        return dict, (list(dict.items(self)),)


class OwnedDict(WholeDict):
    """A dictionary of one caller; some of its children may still be shared, until they are read."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        value = dict.__getitem__(self, key)
        return _take(self, dict, key) if type(value) in _MAKERS else value

    def __iter__(self) -> Iterator[Any]:
        # Overridden so that ``dict(self)`` and ``{**self}`` read the children one by one.
        return dict.__iter__(self)

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the caller's value of ``key``, else ``default``."""
        value = dict.get(self, key, default)
        return _take(self, dict, key) if type(value) in _MAKERS and key in self else value

    def pop(self, key: Any, default: Any = _REQUIRED) -> Any:
        """Remove ``key`` and return its value."""
        if default is _REQUIRED:
            return owned(dict.pop(self, key))
        return owned(dict.pop(self, key, default))

    def popitem(self) -> tuple[Any, Any]:
        """Remove the last entry and return it."""
        key, value = dict.popitem(self)
        return key, owned(value)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the caller's value of ``key``, which is ``default`` if there was none."""
        dict.setdefault(self, key, default)
        return self[key]

    def copy(self) -> dict[Any, Any]:
        """Return a plain dictionary with the same children."""
        return dict(self)

    def items(self) -> ItemsView[Any, Any]:  # type: ignore[override]  # dict's view is a subclass
        """Return the entries, all of them the caller's."""
        _take_all_of_dict(self)
        return dict.items(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # as above
        """Return the values, all of them the caller's."""
        _take_all_of_dict(self)
        return dict.values(self)


class WholeList(list[Any]):
    """A list of one caller, whose children all belong to the caller."""

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        made: list[Any] = []
        memo[id(self)] = made
        made.extend(copy.deepcopy(value, memo) for value in list.__iter__(self))
        return made

    def __copy__(self) -> list[Any]:
        return list(self)

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(list.__iter__(self)),)


class OwnedList(WholeList):
    """A list of one caller; some of its children may still be shared, until they are read."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        value = list.__getitem__(self, index)
        return _take(self, list, index) if type(value) in _MAKERS else value

    def __iter__(self) -> Iterator[Any]:
        _take_all_of_list(self)
        return list.__iter__(self)

    def __reversed__(self) -> Iterator[Any]:
        _take_all_of_list(self)
        return list.__reversed__(self)

    def __add__(self, other: Any) -> Any:
        return list(self) + other

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return list(self) * times

    __rmul__ = __mul__

    def pop(self, index: SupportsIndex = -1) -> Any:
        """Remove a member and return it."""
        return owned(list.pop(self, index))

    def copy(self) -> list[Any]:
        """Return a plain list with the same children."""
        return list(self)


_MAKERS: Final[dict[type, Callable[[Any], Any]]] = {
    FrozenDict: OwnedDict,
    FrozenList: OwnedList,
    FlatFrozenDict: dict,
    FlatFrozenList: list,
}
"""What a caller gets for a shared dictionary or list; a plain one if it has no such children."""

_TAKING: Final = threading.Lock()
"""Held while a child is replaced: two threads that read it must get the same object."""
os.register_at_fork(
    before=_TAKING.acquire, after_in_parent=_TAKING.release, after_in_child=_TAKING.release
)


def owned(value: Any) -> Any:
    """Return ``value`` as an object that the caller may change at every level.

    If it is a shared dictionary or list, only its top level is copied now.
    """
    make = _MAKERS.get(type(value))
    return value if make is None else make(value)


def _take(parent: Any, kind: Any, key: Any) -> Any:
    with _TAKING:
        value = owned(kind.__getitem__(parent, key))
        kind.__setitem__(parent, key, value)
    return value


def _take_all_of_dict(parent: OwnedDict) -> None:
    with _TAKING:
        for key, value in dict.items(parent):
            if type(value) in _MAKERS:
                dict.__setitem__(parent, key, owned(value))
        parent.__class__ = WholeDict  # type: ignore[assignment]  # a base with the same layout


def _take_all_of_list(parent: OwnedList) -> None:
    with _TAKING:
        for index, value in enumerate(list.__iter__(parent)):
            if type(value) in _MAKERS:
                list.__setitem__(parent, index, owned(value))
        parent.__class__ = WholeList  # type: ignore[assignment]  # a base with the same layout


# PyYAML looks up the exact type and does not recognize subclasses.
for _dumper in (yaml.Dumper, yaml.SafeDumper):
    for _kind in (OwnedDict, WholeDict):
        _dumper.add_representer(_kind, yaml.SafeDumper.represent_dict)
    for _list in (OwnedList, WholeList):
        _dumper.add_representer(_list, yaml.SafeDumper.represent_list)
