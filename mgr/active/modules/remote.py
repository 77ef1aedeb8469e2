"""Calls methods of one module for another, on the caller's thread and with copied values.

A value that cannot be copied is passed by reference: both modules live in this process, and Ceph's
releases before 20 pass every value so (docs/adr/0046).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from mgr.cluster.frozen import FrozenDict, FrozenList
from mgr.cluster.owned import WholeDict, WholeList
from mgr.host.remote_errors import error_for_caller, failure_text
from mgr.module_process.remote import (
    RemoteAnswer,
    RemoteInstance,
    pickled_arguments,
    remote_result,
)
from mgr.tracing import part

_SHARED: Final = (FrozenDict, FrozenList, WholeDict, WholeList)
"""Parts of documents; they are copied as plain dictionaries and lists."""

ToLoop = Callable[[Coroutine[Any, Any, RemoteAnswer]], RemoteAnswer]


def _no_loop(work: Coroutine[Any, Any, RemoteAnswer]) -> RemoteAnswer:
    work.close()
    raise AssertionError("a module in another process is reached by the loop")


class Remote:
    """Calls methods of running modules.

    A call runs on the caller's thread and holds no lock: two modules that call each other would
    deadlock otherwise. Arguments and results are copied, so that no module can change an object
    that another one uses; each argument that cannot be copied is the caller's own object.
    """

    def __init__(self, instance_of: Callable[[str], object | None]) -> None:
        """Find modules with ``instance_of``, which may be called from any thread."""
        self._instance_of = instance_of

    def call(
        self,
        module: str,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        to_loop: ToLoop = _no_loop,
    ) -> Any:
        """Call ``method`` of ``module`` and return a copy of its result, or the result.

        An exception of the method is raised here with its own type *and* as a ``RuntimeError``,
        if it can be copied; else as a plain ``RuntimeError`` whose text is the traceback
        (``mgr/active/modules/remote_errors.py``, docs/adr/0013).

        ``to_loop`` runs a coroutine on the loop and waits for it: for a module in another process.

        Raises:
            ImportError: No such module is running.
            NameError: The module has no such method.
            RuntimeError: The method raised.
            TypeError: An argument cannot be passed to another process.

        """
        with part(f"remote {module}.{method}"):
            return self._call(module, method, args, kwargs, to_loop)

    def _call(
        self,
        module: str,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        to_loop: ToLoop,
    ) -> Any:
        instance = self._instance_of(module)
        if instance is None:
            raise ImportError("Module not found")
        if isinstance(instance, RemoteInstance):
            payload = pickled_arguments(module, method, args, kwargs)
            return remote_result(to_loop(instance.call(method, payload)))
        target = _method(instance, method)
        own_args, own_kwargs = _copied_arguments(tuple(args), dict(kwargs))
        try:
            returned = target(*own_args, **own_kwargs)
        except BaseException as error:  # noqa: BLE001 - the other module's code; it may even exit
            failure, cause = error_for_caller(error, failure_text())
            raise failure from cause
        return _copied(returned)


def _method(instance: object, name: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] | None = getattr(instance, name, None)
    except BaseException as error:  # noqa: BLE001 - a property is the other module's code, too
        failure, cause = error_for_caller(error, failure_text())
        raise failure from cause
    if found is None:
        raise NameError("Method not found")
    return found


def _copied_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # All at once, so that an object that was passed twice is one object to the method, too.
    both = args, kwargs
    copied: tuple[tuple[Any, ...], dict[str, Any]] = _copied(both)
    if copied is not both and all(map(_same_type, (*args, *kwargs.values()), _values(copied))):
        return copied
    return (
        tuple(_copied(value) for value in args),
        {name: _copied(value) for name, value in kwargs.items()},
    )


def _values(arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> tuple[Any, ...]:
    args, kwargs = arguments
    return *args, *kwargs.values()


def _copied(value: Any) -> Any:
    """Return a copy of ``value``; ``value`` itself if it cannot be copied or changes by it."""
    try:
        copied = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes, of the same line
    except Exception:  # noqa: BLE001 - a module's objects may raise anything when pickled
        return value
    return copied if _same_type(value, copied) else value


def _same_type(value: Any, copied: Any) -> bool:
    """Return whether ``copied`` and its direct members have the types of ``value``'s.

    A class that chooses a subclass in ``__new__`` may be rebuilt as another one.
    """
    if isinstance(value, _SHARED):
        return True
    if type(copied) is not type(value):
        return False
    if isinstance(value, list | tuple):
        return len(copied) == len(value) and all(
            type(new) is type(old) or isinstance(old, _SHARED)
            for old, new in zip(value, copied, strict=True)
        )
    return True
