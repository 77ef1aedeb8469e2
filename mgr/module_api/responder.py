"""Decorators that turn what a command returns or raises into ``(retval, stdout, stderr)``.

``@Responder()`` below ``@CLICommand(...)`` adds ``--format`` to a command and lets it return plain
data. A command fails by raising ``ErrorResponse``. Any other exception passes through.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeGuard

from mgr.module_api.format import CommonFormatter, ObjectFormatAdapter

P = ParamSpec("P")
MgrResponse = tuple[int, str, str]


class ReturnValueProvider(Protocol):
    """An object that defines the return value of the command that returned it."""

    def mgr_return_value(self) -> int:
        """Return 0, or a negative errno."""
        ...


class StatusValueProvider(Protocol):
    """An object that defines the status text (stderr) of the command that returned it."""

    def mgr_status_value(self) -> str:
        """Return the status text."""
        ...


class ReturnValueAdapter:
    """Gets the return value from any object, or ``default`` if the object defines none."""

    def __init__(self, obj: Any, default: int = 0) -> None:
        self.obj = obj
        self.default_return_value = default

    def mgr_return_value(self) -> int:
        """Return the object's return value as a number, or the default."""
        if _is_return_value_provider(self.obj):
            return int(self.obj.mgr_return_value())
        return self.default_return_value


class StatusValueAdapter:
    """Gets the status text from any object, or ``default`` if the object defines none."""

    def __init__(self, obj: Any, default: str = "") -> None:
        self.obj = obj
        self.default_status = default

    def mgr_status_value(self) -> str:
        """Return the object's status text, or the default."""
        if _is_status_value_provider(self.obj):
            return str(self.obj.mgr_status_value())
        return self.default_status


def _is_return_value_provider(obj: Any) -> TypeGuard[ReturnValueProvider]:
    """Return whether ``obj`` defines a return value."""
    return callable(getattr(obj, "mgr_return_value", None))


def _is_status_value_provider(obj: Any) -> TypeGuard[StatusValueProvider]:
    """Return whether ``obj`` defines a status text."""
    return callable(getattr(obj, "mgr_status_value", None))


class ErrorResponseBase(Exception):  # noqa: N818 - Ceph's name, as those below
    """Base of the exceptions that become the result of a command."""

    def format_response(self) -> MgrResponse:
        """Return the result of the command."""
        raise NotImplementedError


class UnknownFormat(ErrorResponseBase):
    """The value of ``--format`` is unknown."""

    def __init__(self, format_name: str) -> None:
        super().__init__(format_name)
        self.format_name = format_name

    def format_response(self) -> MgrResponse:
        """-EINVAL, with the name."""
        return -errno.EINVAL, "", f"Unknown format name: {self.format_name}"


class UnsupportedFormat(ErrorResponseBase):
    """The value of ``--format`` is known, but this command does not support it."""

    def __init__(self, format_name: str) -> None:
        super().__init__(format_name)
        self.format_name = format_name

    def format_response(self) -> MgrResponse:
        """-EINVAL, with the name."""
        return -errno.EINVAL, "", f"Unsupported format: {self.format_name}"


class ErrorResponse(ErrorResponseBase):
    """A command failed: a status text and a negative errno (-EINVAL by default)."""

    def __init__(self, status: str, return_value: int | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.return_value = -errno.EINVAL if return_value is None else return_value

    def format_response(self) -> MgrResponse:
        """Return the result of the command."""
        return self.return_value, "", self.status

    def mgr_return_value(self) -> int:
        """Return the return value of the command."""
        return self.return_value

    @property
    def errno(self) -> int:
        """The return value without its sign."""
        return abs(self.return_value)

    def __repr__(self) -> str:
        return f"ErrorResponse({self.status!r}, {self.return_value!r})"

    @classmethod
    def wrap(cls, exc: Exception, return_value: int | None = None) -> ErrorResponseBase:
        """Convert any exception to an ``ErrorResponse``: its text, and its ``errno`` if any.

        The return value is negative whatever the sign of ``errno``, and -EINVAL if there is no
        number or it is 0. An ``ErrorResponseBase`` is returned unchanged.
        """
        if isinstance(exc, ErrorResponseBase):
            return exc
        if return_value is None:
            try:
                return_value = -abs(int(getattr(exc, "errno", 0)))
            except (TypeError, ValueError, OverflowError):
                return_value = 0
            return_value = return_value or -errno.EINVAL
        answer = cls(str(exc), return_value=return_value)
        answer.__cause__ = exc
        return answer


def _answer(error: ErrorResponseBase) -> MgrResponse:
    """Return the result of a command that raised ``error``; a positive errno is made negative."""
    retval, body, status = error.format_response()
    return -abs(retval), body, status


class Responder:
    """Decorator that formats what a command returns, and adds ``--format`` to its arguments.

    The function does not get ``format``. An unknown format is refused before it is called.
    """

    def __init__(self, formatter: Callable[[Any], CommonFormatter] | None = None) -> None:
        self.formatter = formatter
        self.default_format = "json"

    def __call__(self, f: Callable[..., Any]) -> Callable[..., MgrResponse]:
        """Decorate ``f``."""

        @wraps(f)
        def _format_response(*args: Any, **kwargs: Any) -> MgrResponse:
            format_req = kwargs.pop("format", None)
            try:
                self._dry_run(format_req)
                result = f(*args, **kwargs)
                body = self._formatted(result, format_req)
                retval = self._return_value(result)
                status = self._return_status(result)
            except ErrorResponseBase as error:
                return _answer(error)
            return retval, body, status

        # Read by CLICommand: arguments of the command that the function does not have.
        _format_response.extra_args = {"format": str}  # type: ignore[attr-defined] # as said
        return _format_response

    def _formatter(self, obj: Any) -> CommonFormatter:
        return ObjectFormatAdapter(obj) if self.formatter is None else self.formatter(obj)

    def _retval_provider(self, obj: Any) -> ReturnValueProvider:
        return ReturnValueAdapter(obj)

    def _statusval_provider(self, obj: Any) -> StatusValueProvider:
        return StatusValueAdapter(obj)

    def _get_format_func(self, obj: Any, format_req: str | None = None) -> Callable[[], str]:
        formatter = self._formatter(obj)
        wanted = self.default_format if format_req is None else format_req
        name = str(wanted).replace("-", "_")
        if name not in formatter.valid_formats():
            raise UnknownFormat(wanted)
        function: Callable[[], str] | None = getattr(formatter, f"format_{name}", None)
        if function is None:
            raise UnsupportedFormat(wanted)
        return function

    def _dry_run(self, format_req: str | None = None) -> None:
        self._get_format_func({}, format_req)

    def _formatted(self, obj: Any, format_req: str | None = None) -> str:
        return self._get_format_func(obj, format_req)()

    def _return_value(self, obj: Any) -> int:
        return self._retval_provider(obj).mgr_return_value()

    def _return_status(self, obj: Any) -> str:
        return self._statusval_provider(obj).mgr_status_value()


class ErrorResponseHandler:
    """Decorator for a command that returns all three values and may raise ``ErrorResponse``."""

    def __call__(self, f: Callable[P, MgrResponse]) -> Callable[P, MgrResponse]:
        """Decorate ``f``."""

        @wraps(f)
        def _format_response(*args: P.args, **kwargs: P.kwargs) -> MgrResponse:
            try:
                retval, body, status = f(*args, **kwargs)
            except ErrorResponseBase as error:
                return _answer(error)
            return retval, body, status

        return _format_response


class ConstantResponderBase:
    """Decorator that returns the same result whatever the command returned. Meant to be derived."""

    def mgr_return_value(self) -> int:
        """Return the return value of each result."""
        return 0

    def mgr_body_value(self) -> str:
        """Return the data of each result."""
        return ""

    def mgr_status_value(self) -> str:
        """Return the status text of each result."""
        return ""

    def process_response(self, result: Any) -> None:
        """Check what the command returned. May raise ``ErrorResponse``."""

    def __call__(self, f: Callable[P, Any]) -> Callable[P, MgrResponse]:
        """Decorate ``f``."""

        @wraps(f)
        def _format_response(*args: P.args, **kwargs: P.kwargs) -> MgrResponse:
            try:
                self.process_response(f(*args, **kwargs))
            except ErrorResponseBase as error:
                return _answer(error)
            return self.mgr_return_value(), self.mgr_body_value(), self.mgr_status_value()

        return _format_response


class EmptyResponder(ConstantResponderBase):
    """Decorator for a command that returns nothing and has no output."""

    def process_response(self, result: Any) -> None:
        """Check that the command returned None. A command that returns data needs ``Responder``.

        Raises:
            ValueError: The command returned something.

        """
        if result is not None:
            raise ValueError("EmptyResponder expects None from wrapped functions")
