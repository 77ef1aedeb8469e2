"""A broken build: whoever has this folder in PYTHONPATH writes without proof of the term.

Python imports a module of this name at its start, in the worker as well.
"""

from mgr.store.attempt import Write

_compares = Write.compares


def _unproven(write, order):
    return tuple(compare for compare in _compares(write, order) if compare != write.fence)


Write.compares = _unproven
