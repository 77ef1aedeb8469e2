"""Wraps data keys under a key that is not in etcd: a key in a file, or a command (a KMS)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import stat
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Final, Protocol

from mgr.errors import InvalidSettingError, SealedError
from mgr.store.sealing import KEY_BYTES, DataKey

COMMAND_S: Final = 10.0
"""Time limit of one call of the command."""
OUTPUT_BYTES_MAX: Final = 64 << 10
WRAPPING: Final = "wrapping"
"""The name of a wrapping key in the sealed form; data keys have other names."""


class KeyWrapper(Protocol):
    """Wraps and unwraps the secrets of data keys."""

    async def wrap(self, name: str, secret: bytes) -> str:
        """Return ``secret`` of the data key ``name``, wrapped.

        Raises:
            SealedError: It cannot be wrapped now; the message says why.

        """
        ...

    async def unwrap(self, name: str, wrapped: str) -> bytes:
        """Return the secret of the data key ``name``.

        Raises:
            SealedError: It cannot be unwrapped now; the message says why.

        """
        ...


class FileKeys:
    """Wrapping keys in a file: one a line, 32 bytes in base64. The first one wraps, all unwrap.

    The file is read at each use, so that a changed one needs no restart.
    """

    def __init__(self, file: str) -> None:
        """Use the keys in ``file``.

        Raises:
            InvalidSettingError: It cannot be read, others than its owner may read it, or it has
                no key.

        """
        self._file = file
        self._read()

    async def wrap(self, name: str, secret: bytes) -> str:
        """Wrap with the first key of the file."""
        return DataKey(WRAPPING, self._keys()[0]).seal(name, b64encode(secret).decode())

    async def unwrap(self, name: str, wrapped: str) -> bytes:
        """Unwrap with whichever key of the file fits."""
        for key in self._keys():
            with contextlib.suppress(SealedError):
                return b64decode(DataKey(WRAPPING, key).open(name, wrapped))
        raise SealedError(f"no key in {self._file} unwraps the data key {name}")

    def _keys(self) -> list[bytes]:
        try:
            return self._read()
        except InvalidSettingError as error:
            raise SealedError(str(error)) from None

    def _read(self) -> list[bytes]:
        what = f"seal_key_file: {self._file}"
        try:
            with open(self._file, encoding="ascii") as file:  # noqa: PTH123 - fstat of what is read
                mode = os.fstat(file.fileno()).st_mode
                lines = file.read(OUTPUT_BYTES_MAX).split()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise InvalidSettingError(f"{what} cannot be read: {why}") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InvalidSettingError(f"{what} may be read by others: chmod 600 {self._file}")
        try:
            keys = [b64decode(line, validate=True) for line in lines]
        except ValueError:
            keys = []
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise InvalidSettingError(
                f"{what} holds no keys: each line must be {KEY_BYTES} bytes in base64, as written "
                f"by 'head -c {KEY_BYTES} /dev/urandom | base64'"
            )
        return keys


class CommandKeys:
    """Has a command wrap and unwrap: ``COMMAND wrap NAME`` and ``COMMAND unwrap NAME``.

    It reads one line from its standard input, the secret in base64 or the wrapped form, and writes
    the other one to its standard output.
    """

    def __init__(self, command: str) -> None:
        """Run ``command``, split into words as a shell would.

        Raises:
            InvalidSettingError: It is empty, has an open quote, or its program does not exist.

        """
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InvalidSettingError(f"seal_command: {error}") from None
        if not self._words or not Path(self._words[0]).is_absolute():
            raise InvalidSettingError("seal_command: begin with the absolute path of a program")
        if not os.access(self._words[0], os.X_OK):
            raise InvalidSettingError(f"seal_command: {self._words[0]} cannot be executed")

    async def wrap(self, name: str, secret: bytes) -> str:
        """Run it with ``wrap``."""
        return await self._run("wrap", name, b64encode(secret).decode())

    async def unwrap(self, name: str, wrapped: str) -> bytes:
        """Run it with ``unwrap``."""
        text = await self._run("unwrap", name, wrapped)
        try:
            secret = b64decode(text, validate=True)
        except ValueError:
            secret = b""
        if len(secret) != KEY_BYTES:
            raise SealedError(f"seal_command: the secret of {name} is not {KEY_BYTES} bytes")
        return secret

    async def _run(self, verb: str, name: str, line: str) -> str:
        what = f"seal_command {verb}"
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                verb,
                name,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise SealedError(f"{what}: {error.strerror}") from None
        try:
            async with asyncio.timeout(COMMAND_S):
                out, err = await process.communicate(f"{line}\n".encode())
        except TimeoutError:
            raise SealedError(f"{what}: no answer within {COMMAND_S:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if process.returncode:
            why = err[:200].decode(errors="replace").strip()
            raise SealedError(f"{what}: exit status {process.returncode}: {why}")
        if not out or len(out) > OUTPUT_BYTES_MAX:
            raise SealedError(f"{what}: it wrote {len(out)} bytes")
        return out.decode(errors="replace").strip()
