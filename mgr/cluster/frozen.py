"""Read-only dictionaries and lists, for documents that many threads read at once.

A document is made once on the loop and passed to every module that reads it. For ``json`` and
``isinstance`` it is a normal dictionary or list; methods that would change it raise. To get a
copy that can be changed, use ``copy.deepcopy``: it returns plain dictionaries and lists.
"""

from __future__ import annotations

import copy
from typing import Any, NoReturn

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


def freeze(value: Any) -> Any:
    """Return a read-only copy of ``value``, made of dictionaries, lists and plain values."""
    if isinstance(value, FrozenDict | FrozenList):
        return value
    if isinstance(value, dict):
        return FrozenDict({key: freeze(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList([freeze(inner) for inner in value])
    return value


# PyYAML looks up the exact type and does not recognize subclasses.
for _dumper in (yaml.Dumper, yaml.SafeDumper):
    _dumper.add_representer(FrozenDict, yaml.SafeDumper.represent_dict)
    _dumper.add_representer(FrozenList, yaml.SafeDumper.represent_list)
