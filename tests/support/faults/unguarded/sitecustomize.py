"""A broken build: whoever has this folder in PYTHONPATH writes without proof of the term.

Python imports a module of this name at its start, in the worker as well.
"""

from mgr.store.fenced import _Write

_compares = _Write.compares


def _unproven(write):
    return tuple(compare for compare in _compares(write) if compare != write.guard)


_Write.compares = _unproven
