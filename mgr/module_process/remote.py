"""Calls between modules of which at least one runs in a process of its own.

Arguments and results are pickled by the caller's and the called module's process. The worker passes
them on as bytes.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from mgr.host.execution import ProcessEndedError
from mgr.host.remote_errors import called_method, error_for_caller, failure_text
from mgr.module_process.messages import PROTOCOL
from mgr.module_process.process import ModuleProcess, OnAnswer

RemoteAnswer = tuple[str, Any]
"""``("result", pickled)``; ``("raised", pickled)`` with the exception to raise and the text of its
cause; ``("failed", text)`` if no such exception can be pickled; ``("absent", "")`` if there is no
such method; ``("no module", "")``."""


class RemoteInstance:
    """Stands for an instance in a process of its own. Use it on the loop."""

    def __init__(self, process: ModuleProcess) -> None:
        """Call the instance in ``process``."""
        self._process = process

    async def call(self, method: str, payload: bytes) -> RemoteAnswer:
        """Call ``method`` with pickled arguments."""
        _, future = self._process.call("remote", method, payload)
        try:
            answer: RemoteAnswer = await future
        except ProcessEndedError as error:
            return "failed", f"Remote method threw exception: {error}"
        return answer

    def forward(self, method: str, payload: bytes, on_answer: OnAnswer) -> None:
        """Call ``method``; ``on_answer`` gets the ``RemoteAnswer``, without a task in between."""

        def answered(answer: Any, error: Exception | None) -> None:
            if isinstance(error, ProcessEndedError):
                answer, error = ("failed", f"Remote method threw exception: {error}"), None
            on_answer(answer, error)

        self._process.request("remote", (method, payload), answered)


def run_remote(instance: Any, method: str, payload: bytes) -> RemoteAnswer:
    """Call ``method`` of ``instance``, on this thread, for a module in another process."""
    try:
        target = called_method(instance, method)
    except NameError as error:
        return ("absent", "") if str(error) == "Method not found" else ("failed", failure_text())
    except BaseException as error:  # noqa: BLE001 - a property is the module's code, too
        return _failure(error)
    try:
        args, kwargs = pickle.loads(payload)  # noqa: S301 - another module's values, as for ``remote`` in one process
        returned = target(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - the module's code; it may even exit
        return _failure(error)
    try:
        return "result", pickle.dumps(returned, PROTOCOL)
    except Exception as error:  # noqa: BLE001 - a module's objects may raise anything
        text = f"what {method}() returned cannot be passed to a module in another process"
        return "failed", f"{text}: {error}"


def pickled_arguments(
    module: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> bytes:
    """Pickle the arguments of a call.

    Raises:
        TypeError: One of them cannot be pickled; the text names the call.

    """
    try:
        return pickle.dumps((tuple(args), dict(kwargs)), PROTOCOL)
    except Exception as error:
        raise TypeError(
            f"remote('{module}', '{method}'): an argument cannot be passed to a module in another "
            f"process: {error}"
        ) from error


def remote_result(answer: RemoteAnswer) -> Any:
    """Return the result of a call, or raise what it raised.

    Raises:
        ImportError: No such module is running.
        NameError: It has no such method.
        RuntimeError: The method raised.

    """
    match answer:
        case ("result", bytes(content)):
            return pickle.loads(content)  # noqa: S301 - another module's values, as for ``remote`` in one process
        case ("absent", _):
            raise NameError("Method not found")
        case ("no module", _):
            raise ImportError("Module not found")
        case ("raised", bytes(content)):
            failure, text = _unpickled_failure(content)
            raise failure from RuntimeError(text)
        case (_, text):
            raise RuntimeError(text)


def _failure(error: BaseException) -> RemoteAnswer:
    """Return the answer for an exception that is being handled."""
    text = failure_text()
    failure, cause = error_for_caller(error, text)
    if cause is not None:
        with contextlib.suppress(Exception):  # a module's objects may raise anything
            return "raised", pickle.dumps((failure, text), PROTOCOL)
    return "failed", text


def _unpickled_failure(content: bytes) -> tuple[Exception, str]:
    try:
        failure, text = pickle.loads(content)  # noqa: S301 - as above
    except Exception as error:  # noqa: BLE001 - its class may not exist in this process
        return RuntimeError(f"Remote method threw exception: {error}"), str(error)
    return failure, text
