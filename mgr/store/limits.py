"""Checks keys, values and the size of a transaction before anything is sent to a store."""

from __future__ import annotations

from collections.abc import Sequence

from mgr.errors import InvalidArgumentError, InvalidKeyError, TooLargeError
from mgr.store.api import (
    OPERATIONS_MAX,
    VALUE_BYTES_MAX,
    Compare,
    Delete,
    DeletePrefix,
    Operation,
    Page,
    Put,
    Record,
)


def encoded_key(key: str) -> bytes:
    """Return ``key`` (or a prefix) in the bytes that a store holds.

    Raises:
        InvalidKeyError: The key is empty, has a NUL or cannot be encoded as UTF-8.

    """
    if not key:
        raise InvalidKeyError("a key must not be empty")
    if "\0" in key:
        raise InvalidKeyError(f"key {key!r} holds a NUL character")
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise InvalidKeyError(f"key {key!r} cannot be written as UTF-8") from None


def encoded_value(key: str, value: str) -> bytes:
    """Return ``value`` as bytes.

    Raises:
        InvalidArgumentError: The value cannot be encoded as UTF-8; the message names ``key``.
        TooLargeError: The value alone is above the limit of one transaction.

    """
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"the value of {key!r} cannot be written as UTF-8") from None
    if len(encoded) > VALUE_BYTES_MAX:
        raise TooLargeError(
            f"the value of {key!r} has {len(encoded)} bytes; the limit is {VALUE_BYTES_MAX}"
        )
    return encoded


def check_commit(
    operations: Sequence[Operation],
    when: Sequence[Compare] = (),
    *reads: Sequence[str],
) -> None:
    """Raise if no store would accept this transaction. ``reads`` are the keys that it reads.

    Raises:
        InvalidKeyError: See ``encoded_key``.
        InvalidArgumentError: A value cannot be UTF-8, or a key is written twice.
        TooLargeError: Too many operations, or too many bytes in all.

    """
    for what, many in (
        ("operations", operations),
        ("compares", when),
        *(("reads", keys) for keys in reads),
    ):
        if len(many) > OPERATIONS_MAX:
            raise TooLargeError(
                f"a transaction of {len(many)} {what}; the limit is {OPERATIONS_MAX}: "
                "it is refused, since in parts it would not be atomic"
            )
    total = sum(len(encoded_key(compare.key)) for compare in when)
    total += sum(len(encoded_key(key)) for keys in reads for key in keys)
    total += sum(_bytes_of(operation) for operation in operations)
    if total > VALUE_BYTES_MAX:
        first = next((_target(operation) for operation in operations), "")
        raise TooLargeError(
            f"the transaction that begins with {first!r} has {total} bytes; "
            f"the limit is {VALUE_BYTES_MAX}"
        )
    _refuse_doubles(operations)


def first_page(records: Sequence[Record], chars_max: int, *, more: bool) -> Page:
    """Return the first of ``records``: one at least, and not more than have ``chars_max``.

    ``more``: others follow behind the last one.
    """
    size = 0
    for count, record in enumerate(records):
        size += len(record.key) + len(record.value)
        if count and size > chars_max:
            return Page(tuple(records[:count]), more=True)
    return Page(tuple(records), more=more)


def _bytes_of(operation: Operation) -> int:
    size = len(encoded_key(_target(operation)))
    if isinstance(operation, Put):
        size += len(encoded_value(operation.key, operation.value))
    return size


def _target(operation: Operation) -> str:
    return operation.prefix if isinstance(operation, DeletePrefix) else operation.key


def _refuse_doubles(operations: Sequence[Operation]) -> None:
    """Raise if a key is put twice, or put and deleted: a transaction's operations have no order."""
    put: set[str] = set()
    for operation in operations:
        if isinstance(operation, Put):
            if operation.key in put:
                raise InvalidArgumentError(f"{operation.key!r} is put twice in one transaction")
            put.add(operation.key)
    for operation in operations:
        if isinstance(operation, Delete):
            hit = operation.key if operation.key in put else None
        elif isinstance(operation, DeletePrefix):
            hit = next((key for key in put if key.startswith(operation.prefix)), None)
        else:
            continue
        if hit is not None:
            raise InvalidArgumentError(f"{hit!r} is put and deleted in one transaction")
