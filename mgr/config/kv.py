"""Checks the keys and values of the key/value store before anything is sent."""

from __future__ import annotations

from typing import Final

from mgr.errors import InvalidArgumentError, TooLargeError
from mgr.store.limits import encoded_key

KEY_BYTES_MAX: Final = 4096
ENTRY_BYTES_MAX: Final = 64 << 10
"""Largest value, unless ``mon_config_key_max_entry_size`` sets another limit. Modules written for
Ceph split larger values, because Ceph has the same limit."""
ENTRY_BYTES_CEILING: Final = 1 << 20
"""Largest limit that can be set: key and value of one write must fit into one request to etcd."""


def checked_key(key: str) -> str:
    """Return ``key`` if it is valid.

    Raises:
        InvalidKeyError: It is empty, holds a NUL, or cannot be encoded as UTF-8.
        TooLargeError: It is longer than ``KEY_BYTES_MAX`` bytes.

    """
    size = len(encoded_key(key))
    if size > KEY_BYTES_MAX:
        raise TooLargeError(f"key of {size} bytes: keys are limited to {KEY_BYTES_MAX} bytes")
    return key


def checked_value(value: str, *, bytes_max: int = ENTRY_BYTES_MAX) -> str:
    """Return ``value`` if it is valid.

    Raises:
        TooLargeError: It is longer than ``bytes_max`` bytes in UTF-8.
        InvalidArgumentError: It cannot be encoded as UTF-8.

    """
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentError("the value cannot be written as UTF-8") from None
    if size > bytes_max:
        raise TooLargeError(
            f"error: entry size limited to {bytes_max} bytes: store less, or raise the limit with "
            "`mgrctl config set mgr mon_config_key_max_entry_size BYTES`"
        )
    return value


def decoded(data: bytes, what: str) -> str:
    """Decode UTF-8.

    Raises:
        InvalidArgumentError: ``data`` is not UTF-8; the message names ``what`` and the position.

    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(
            f"{what} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}"
        ) from None
