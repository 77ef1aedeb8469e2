"""Results of a back end: a value or an error, copied from one module to another as they are."""

from __future__ import annotations

import functools
import logging
import pickle
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

from mgr.module_api.orchestrator.errors import OrchestratorError

T = TypeVar("T")
P = ParamSpec("P")

log = logging.getLogger(__name__)


class OrchResult(Generic[T]):
    """What a method of a back end returns: its result, or the exception that it raised."""

    def __init__(self, result: T | None, exception: Exception | None = None) -> None:
        self.result = result
        self.serialized_exception: bytes | None = None
        self.exception_str = ""
        self.set_exception(exception)

    def set_exception(self, exception: Exception | None) -> None:
        """Keep an exception so that it can be copied; one that cannot becomes its text."""
        if exception is None:
            self.serialized_exception, self.exception_str = None, ""
            return
        self.exception_str = f"{type(exception).__name__}: {exception}"
        try:
            self.serialized_exception = pickle.dumps(exception)
        except Exception:  # noqa: BLE001 - a back end may raise anything
            self.serialized_exception = pickle.dumps(OrchestratorError(self.exception_str))

    def result_str(self) -> str:
        """Return the result as text; empty if there is none."""
        return "" if self.result is None else str(self.result)


def raise_if_exception(c: OrchResult[T]) -> T:
    """Return the result of a completion, or raise its exception, as in the back end.

    Raises:
        OrchestratorError: The back end cannot do it.
        Exception: Whatever else it raised.

    """
    if c.serialized_exception is not None:
        try:
            error = pickle.loads(c.serialized_exception)  # noqa: S301 - of a module of this manager
        except Exception:  # noqa: BLE001 - a class that only the back end can import
            raise OrchestratorError(c.exception_str) from None
        raise error
    return c.result  # type: ignore[return-value]  # a method without a result has None


def handle_orch_error(f: Callable[P, T]) -> Callable[P, OrchResult[T]]:
    """Make a method of a back end return a completion, whether it returns or raises."""

    @functools.wraps(f)
    def completed(*args: P.args, **kwargs: P.kwargs) -> OrchResult[T]:
        try:
            return OrchResult(f(*args, **kwargs))
        except OrchestratorError as error:
            return OrchResult(None, error)
        except Exception as error:  # the edge of the back end's code: the caller gets it
            log.exception("an orchestrator's method failed")
            return OrchResult(None, error)

    return completed
