"""The file that ``mgrctl backup`` writes and ``mgrd restore`` reads.

It is gzip over lines of JSON: a header, one record a line, and an end with the number of records
and the SHA-256 of all lines before it. A file without its end was cut off. Keys are relative to the
cluster's prefix; values are as etcd holds them, so what is sealed stays sealed.

``VERSION`` changes when an older ``mgrd`` would restore a file wrongly. Fields may be added to the
header: unknown ones are ignored.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from mgr.errors import InvalidArgumentError, why

FORMAT: Final = "mgrd-backup"
VERSION: Final = 1
LINE_BYTES_MAX: Final = 8 << 20
"""Longer than any record can be: etcd takes requests of 1.5 MiB."""
FILE_BYTES_MAX: Final = 8 << 30
"""Unpacked. The largest quota that etcd recommends, so nothing larger was ever in one."""


class BackupHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of.

    Attributes:
        cluster: The name of the cluster, part of each key.
        revision: The revision of etcd at which all records were read.
        term: The term of the active that answered.
        made_at: Wall time in ISO 8601, for people.
        made_by: The version of that manager.
        etcd_cluster_id: Of the etcd that was read, in hexadecimal.

    """

    cluster: str
    revision: int
    term: int
    made_at: str
    made_by: str
    etcd_cluster_id: str = ""
    format: str = FORMAT
    version: int = VERSION


class _End(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    records: int
    sha256: str


Entry = tuple[str, str]
"""A key, relative to the cluster's prefix, and its value."""


class BackupWriter:
    """Writes a backup beside its place and moves it there when it is complete."""

    def __init__(self, path: Path, header: BackupHeader) -> None:
        """Begin a file that only its owner can read.

        Raises:
            InvalidArgumentError: It cannot be written.

        """
        self.records = 0
        self._path = path
        self._digest = hashlib.sha256()
        try:
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed by commit or discard
                dir=path.absolute().parent, prefix=f".{path.name}.", delete=False
            )
        except OSError as error:
            raise _cannot_write(path, error) from None
        # The same content gives the same file: neither name nor time is in it.
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0)
        self._line(msgspec.json.encode(header))

    def add(self, entries: Iterable[Entry]) -> None:
        """Write some records, in the order of their keys.

        Raises:
            InvalidArgumentError: It cannot be written.

        """
        for entry in entries:
            self._line(msgspec.json.encode(entry))
            self.records += 1

    def commit(self) -> str:
        """Write the end, and move the file to its place; return the digest of the lines.

        Raises:
            InvalidArgumentError: It cannot be written.

        """
        digest = self._digest.hexdigest()
        self._line(msgspec.json.encode(_End(records=self.records, sha256=digest)))
        try:
            self._packed.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            Path(self._file.name).replace(self._path)
        except OSError as error:
            raise _cannot_write(self._path, error) from None
        return digest

    def discard(self) -> None:
        """Remove what was written, if it was not moved to its place."""
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    def _line(self, line: bytes) -> None:
        self._digest.update(line + b"\n")
        try:
            self._packed.write(line + b"\n")
        except OSError as error:
            raise _cannot_write(self._path, error) from None


class Backup(msgspec.Struct, frozen=True):
    """A backup that was read and checked."""

    header: BackupHeader
    records: Sequence[Entry]
    sha256: str


def read_backup(path: Path) -> Backup:
    """Read a backup and check all of it.

    Raises:
        InvalidArgumentError: It cannot be read, is no backup, is damaged, or is of a later version.

    """
    try:
        with gzip.open(path) as file:
            return _read(path, file)  # type: ignore[arg-type]  # it reads like any binary file
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidArgumentError(f"cannot read the backup {path}: {why(error)}") from None


def _read(path: Path, file: BinaryIO) -> Backup:
    digest, header = hashlib.sha256(), None
    records: list[Entry] = []
    before = b""
    # The last line is the end, which the digest does not cover: so each is used one line later.
    for line in _lines(path, file):
        if before and header is None:
            header = _header(path, before)
        elif before:
            records.append(_record(path, before, len(records)))
        digest.update(before)
        before = line
    if header is None:
        header = _header(path, before)
        raise InvalidArgumentError(f"{path} is cut off: make a new backup, or take another one")
    _check_end(path, before, len(records), digest.hexdigest())
    return Backup(header, records, digest.hexdigest())


def _record(path: Path, line: bytes, number: int) -> Entry:
    try:
        entry: Entry = msgspec.json.decode(line, type=Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidArgumentError(f"{path} is damaged: record {number} cannot be read") from None
    return entry


def _check_end(path: Path, line: bytes, count: int, digest: str) -> None:
    try:
        end = msgspec.json.decode(line, type=_End)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidArgumentError(
            f"{path} is cut off: make a new backup, or take another one"
        ) from None
    if (end.records, end.sha256) != (count, digest):
        raise InvalidArgumentError(f"{path} is damaged: its SHA-256 is not the one in it")


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    size = 0
    while line := file.readline(LINE_BYTES_MAX):
        size += len(line)
        if len(line) == LINE_BYTES_MAX or size > FILE_BYTES_MAX:
            raise InvalidArgumentError(f"{path}: larger than any backup is")
        yield line


def _header(path: Path, line: bytes) -> BackupHeader:
    try:
        header = msgspec.json.decode(line, type=BackupHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidArgumentError(f"{path} is no backup of a cluster") from None
    if header.format != FORMAT:
        raise InvalidArgumentError(f"{path} is no backup of a cluster")
    if header.version > VERSION:
        raise InvalidArgumentError(
            f"{path} has version {header.version} of the format, and this mgrd knows {VERSION}: "
            f"restore it with mgrd {header.made_by} or later"
        )
    return header


def _cannot_write(path: Path, error: OSError) -> InvalidArgumentError:
    return InvalidArgumentError(f"cannot write {path}: {error.strerror}")
