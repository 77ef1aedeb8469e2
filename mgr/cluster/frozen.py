"""Documents that many threads read at once: nothing in them can be changed.

A document is made once on the loop and handed to every module that asks. It is a dictionary or a
list like any other, to ``json`` and to ``isinstance``; only what would change it raises. Who wants
one of his own takes ``copy.deepcopy``, which gives plain dictionaries and lists.
"""

from __future__ import annotations

import copy
from typing import Any, NoReturn

import yaml


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("this document is shared between modules: change a copy.deepcopy() of it")


class FrozenDict(dict[Any, Any]):
    """A dictionary that is read only."""

    __setitem__ = __delitem__ = _refuse
    __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[list[tuple[Any, Any]]]]:
        return dict, (list(self.items()),)


class FrozenList(list[Any]):
    """A list that is read only."""

    __setitem__ = __delitem__ = _refuse
    __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(value, memo) for value in self]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


def freeze(value: Any) -> Any:
    """A read-only equal of ``value``, which is made of dictionaries, lists and plain values."""
    if isinstance(value, FrozenDict | FrozenList):
        return value
    if isinstance(value, dict):
        return FrozenDict({key: freeze(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList([freeze(inner) for inner in value])
    return value


# PyYAML asks for the exact type and knows no subclass.
for _dumper in (yaml.Dumper, yaml.SafeDumper):
    _dumper.add_representer(FrozenDict, yaml.SafeDumper.represent_dict)
    _dumper.add_representer(FrozenList, yaml.SafeDumper.represent_list)
