"""Commands that a program answers: the targets of ``tell <type>.<id> ...``.

Words are matched as the manager matches those of its own commands, with the same errors. A
handler that fails affects only its own answer.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mgr.argument.descriptor import Signature
from mgr.argument.match import closest, match
from mgr.client.daemon.serial_thread import SerialThread, is_ctrl_c
from mgr.client.daemon.validation import is_encodable
from mgr.errors import InvalidArgumentError, MgrError, UnknownCommandError
from mgr.report_limits import COMMAND_MAX, COMMANDS_MAX, RETVAL_MAX
from mgr.rpc.codec import arguments_in
from mgr.rpc.v1.command_pb2 import CommandDescription, ExecuteRequest, ExecuteResponse
from mgr.text import encodable, traceback_of

F = TypeVar("F", bound=Callable[..., Any])

ANSWER_BYTES_MAX: Final = 4 << 20
CLOSEST_MAX: Final = 5
HELP: Final = "help"
"""The command that every program has, unless it declares its own: it lists the others."""
INPUT: Final = "inbuf"
"""The parameter that takes the content of ``-i FILE``."""
ORIGIN: Final = "origin"
"""The parameter that takes a ``CommandOrigin``."""


@dataclass(frozen=True, slots=True)
class CommandOrigin:
    """Who sends a command.

    Attributes:
        term: The term of the manager that passed it on, 0 if that did not say so.
        from_manager: It comes from the manager itself or one of its modules, not from a client.

    """

    term: int = 0
    from_manager: bool = False


@dataclass(frozen=True, slots=True)
class Handler:
    """One command and the function that answers it."""

    signature: Signature
    help: str
    perm: str
    call: Callable[..., Any]
    parameters: frozenset[str] | None
    """The parameters of ``call``; None if it takes any."""

    @property
    def argument_names(self) -> frozenset[str]:
        """The names of the declared arguments."""
        return frozenset(each.name for each in self.signature.arguments)

    def arguments(self, request: ExecuteRequest, origin: CommandOrigin) -> dict[str, Any]:
        """Return the arguments of ``call`` for ``request``.

        Raises:
            InvalidArgumentError: Words or values do not fit.

        """
        found = match(request.words, arguments_in(request.arguments), self.signature)
        if request.input:
            if self.parameters is not None and INPUT not in self.parameters:
                raise InvalidArgumentError("Invalid command: Input file data (-i) not supported")
            try:
                found[INPUT] = request.input.decode()
            except UnicodeDecodeError:
                raise InvalidArgumentError("the input is not UTF-8") from None
        taken = self.parameters
        if taken is not None and ORIGIN in taken and ORIGIN not in self.argument_names:
            found[ORIGIN] = origin
        return {name: value for name, value in found.items() if taken is None or name in taken}


class Handlers:
    """The commands of one program."""

    def __init__(self, thread: SerialThread) -> None:
        """Run plain functions on ``thread``, coroutine functions on the loop."""
        self._thread = thread
        self._handlers: dict[str, Handler] = {}
        self.version = 0
        """Grows with each command that is added."""

    def add(self, descriptor: str, help: str = "", *, perm: str = "rw") -> Callable[[F], F]:  # noqa: A002 - as in ceph-mgr's
        """Make the decorated function answer ``descriptor``; the function is returned unchanged.

        It is called with the command's arguments by name and returns ``(retval, stdout,
        stderr)``, a string, or None.

        Raises:
            InvalidArgumentError: The descriptor is invalid, or there are 256 commands already.
            TypeError: The function does not take the arguments, or requires others.

        """
        signature = Signature.parse(descriptor)
        text = signature.to_text()
        if not all(map(is_encodable, (text, help, perm))):
            raise InvalidArgumentError(
                f"command {descriptor!a}: it holds a lone surrogate, which UTF-8 cannot encode"
            )
        if len(text) > COMMAND_MAX or not text.isprintable():
            raise InvalidArgumentError(
                f"command {text[:60]!a}: use at most {COMMAND_MAX} printable characters"
            )
        if signature.prefix not in self._handlers and len(self._handlers) >= COMMANDS_MAX:
            raise InvalidArgumentError(
                f"command '{signature.prefix}': a program has at most {COMMANDS_MAX} commands"
            )

        def decorate(function: F) -> F:
            parameters = _parameters(function, signature)
            self._handlers[signature.prefix] = Handler(signature, help, perm, function, parameters)
            self.version += 1
            return function

        return decorate

    def descriptions(self) -> list[CommandDescription]:
        """Return the descriptions that the manager gets."""
        return [
            CommandDescription(signature=each.signature.to_text(), help=each.help, perm=each.perm)
            # A copy: a thread of the program may add one meanwhile.
            for each in list(self._handlers.values())
        ]

    async def answer(
        self,
        request: ExecuteRequest,
        *,
        timeout_s: float,
        origin: CommandOrigin = CommandOrigin(),
    ) -> ExecuteResponse:
        """Run the handler of ``request`` and return its answer; every failure becomes an answer.

        Only the cancellation of the waiting task and Ctrl-C are raised: they are not the
        handler's. ``timeout_s`` limits the waiting, not the handler: a thread cannot be stopped.
        """
        limit = asyncio.timeout(timeout_s)
        try:
            if list(request.words) == [HELP] and HELP not in self._handlers:
                return ExecuteResponse(stdout=self._help().encode())
            handler = self._find(list(request.words))
            arguments = handler.arguments(request, origin)
            async with limit:
                return _response(await self._run(handler, arguments))
        except MgrError as error:
            return _refusal(error.errno, str(error))
        except BaseException as error:
            # The edge of the program's code, so BaseException: a SystemExit of a handler would
            # end the loop of all daemons.
            if _ends_own_task(error) or is_ctrl_c(error):
                raise
            if limit.expired():
                return _refusal(errno.ETIMEDOUT, f"no answer within {timeout_s:g} s")
            return _refusal(errno.EINVAL, traceback_of(error))

    def _help(self) -> str:
        """Return the commands with their help, as ``mgrctl help`` shows those of the active."""
        handlers = sorted(self._handlers.values(), key=lambda each: each.signature.words)
        lines = [
            f"{each.signature.usage()}\n    {each.help}\n"
            if each.help
            else f"{each.signature.usage()}\n"
            for each in handlers
        ]
        return "".join(lines) or "this daemon has no commands\n"

    def _find(self, words: list[str]) -> Handler:
        for count in range(len(words), 0, -1):
            if handler := self._handlers.get(" ".join(words[:count])):
                return handler
        near = closest(words, [each.signature for each in list(self._handlers.values())])
        named = ", ".join(f"'{signature.prefix}'" for signature in near[:CLOSEST_MAX])
        hint = f"; closest: {named}" if near else ""
        raise UnknownCommandError(f"no command '{' '.join(words)}'{hint}")

    def _run(self, handler: Handler, arguments: Mapping[str, Any]) -> Awaitable[Any]:
        if inspect.iscoroutinefunction(handler.call):
            coroutine: Awaitable[Any] = handler.call(**arguments)
            return coroutine
        return self._thread.submit(lambda: handler.call(**arguments))


def _ends_own_task(error: BaseException) -> bool:
    """Whether ``error`` ends this task; a handler may also have awaited a cancelled task."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
    return bool(cancelled) or isinstance(error, GeneratorExit)


def _parameters(function: Callable[..., Any], signature: Signature) -> frozenset[str] | None:
    """Return the names of the parameters of ``function``; None if it takes any.

    Raises:
        TypeError: The parameters do not fit the arguments of the command.

    """
    found = inspect.signature(function).parameters.values()
    declared = {each.name: each for each in signature.arguments}
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in found)
    names = {
        each.name
        for each in found
        if each.kind in {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    }
    needed = {each.name for each in found if each.name in names and each.default is each.empty}
    surplus = {name for name in needed if name not in declared or not declared[name].required}
    missing = set() if open_ended else set(declared) - names
    if surplus - {INPUT, ORIGIN} or missing:
        wrong = ", ".join(sorted(surplus - {INPUT, ORIGIN} | missing))
        raise TypeError(f"handler of '{signature.prefix}': parameters do not fit: {wrong}")
    return None if open_ended else frozenset(names)


def _response(result: Any) -> ExecuteResponse:
    match result:
        case None:
            return ExecuteResponse()
        case str():
            retval, stdout, stderr = 0, result, ""
        case (int() as retval, str() as stdout, str() as stderr):
            pass
        case _:
            return _refusal(
                errno.EINVAL,
                f"the handler returned a {type(result).__name__} instead of "
                "(retval: int, stdout: str, stderr: str), a string, or None",
            )
    if abs(retval) > RETVAL_MAX:
        return _refusal(errno.EINVAL, f"the handler returned a return value beyond {RETVAL_MAX}")
    data = encodable(stdout).encode()
    if len(data) + len(stderr) > ANSWER_BYTES_MAX:
        return _refusal(errno.EFBIG, f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
    return ExecuteResponse(retval=retval, stdout=data, stderr=encodable(stderr))


def _refusal(number: int, text: str) -> ExecuteResponse:
    return ExecuteResponse(retval=-number, stderr=encodable(text))
