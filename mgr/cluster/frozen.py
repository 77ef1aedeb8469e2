"""Read-only dictionaries and lists, for documents that many threads read at once.

A document is made once on the loop and read by every module. For ``json`` and ``isinstance`` it is
a normal dictionary or list; methods that would change it raise. ``mgr.cluster.owned`` makes one
that a caller may change; ``copy.deepcopy`` returns plain dictionaries and lists.
"""

from __future__ import annotations

import copy
from typing import Any, Final, NoReturn

import yaml


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("this document is shared between modules: change a copy.deepcopy() of it")


class FrozenDict(dict[Any, Any]):
    """A read-only dictionary."""

    __setitem__ = __delitem__ = _refuse
    __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[list[tuple[Any, Any]]]]:
        return dict, (list(self.items()),)


class FrozenList(list[Any]):
    """A read-only list."""

    __setitem__ = __delitem__ = _refuse
    __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(value, memo) for value in self]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


class FlatFrozenDict(FrozenDict):
    """A read-only dictionary whose values are no dictionaries and no lists."""


class FlatFrozenList(FrozenList):
    """A read-only list whose members are no dictionaries and no lists."""


_NESTED: Final = (dict, list)
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def freeze(value: Any) -> Any:
    """Return a read-only copy of ``value``, made of dictionaries, lists and plain values."""
    if isinstance(value, FrozenDict | FrozenList):
        return value
    if isinstance(value, dict):
        if _PLAIN.issuperset(map(type, value.values())):
            return FlatFrozenDict(value)
        fields = {key: freeze(inner) for key, inner in value.items()}
        flat = not any(isinstance(inner, _NESTED) for inner in fields.values())
        return (FlatFrozenDict if flat else FrozenDict)(fields)
    if isinstance(value, list | tuple):
        if _PLAIN.issuperset(map(type, value)):
            return FlatFrozenList(value)
        members = [freeze(inner) for inner in value]
        flat = not any(isinstance(inner, _NESTED) for inner in members)
        return (FlatFrozenList if flat else FrozenList)(members)
    return value


# PyYAML looks up the exact type and does not recognize subclasses.
for _dumper in (yaml.Dumper, yaml.SafeDumper):
    for _kind in (FrozenDict, FlatFrozenDict):
        _dumper.add_representer(_kind, yaml.SafeDumper.represent_dict)
    for _list in (FrozenList, FlatFrozenList):
        _dumper.add_representer(_list, yaml.SafeDumper.represent_list)
