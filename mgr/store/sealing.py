"""Sealed values: the form in which they are stored, and the data keys that seal them.

A value is sealed with AES-256-GCM under a data key. The stored form names the data key, and the
etcd key of the value is authenticated with it: a sealed value that is copied to another key cannot
be opened. Data keys are stored in etcd themselves, wrapped by a key that is not
(``mgr.store.key_wrapping``).
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from mgr.errors import SealedError
from mgr.store.api import UNREADABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK: Final = "mgr-sealed:"
"""Every value that begins so is in one of the two forms below."""
SEALED: Final = f"{MARK}1:"
"""``mgr-sealed:1:<data key>:<nonce and ciphertext in base64>``."""
ESCAPED: Final = f"{MARK}0:"
"""A plain value that happens to begin with ``MARK`` is stored behind this."""
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class StoredDataKey(msgspec.Struct, frozen=True, kw_only=True):
    """The value of ``seals/<id>``: a data key, wrapped. ``made`` is wall time, for people."""

    wrapped: str
    made: str


def decode_data_key(value: str) -> StoredDataKey:
    """Decode the value of ``seals/<id>``.

    Raises:
        SealedError: It is malformed.

    """
    try:
        return msgspec.json.decode(value, type=StoredDataKey)
    except UNREADABLE as error:
        raise SealedError(f"unreadable data key: {error}") from None


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key, unwrapped. ``id`` is its name in etcd."""

    id: str
    secret: bytes

    def seal(self, key: str, value: str) -> str:
        """Return the stored form of ``value`` at the etcd key ``key``."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = _cipher(self.secret).encrypt(nonce, value.encode(), key.encode())
        return f"{SEALED}{self.id}:{b64encode(nonce + sealed).decode()}"

    def open(self, key: str, text: str) -> str:
        """Return the value whose stored form at ``key`` is ``text``.

        Raises:
            SealedError: It was not sealed by this data key for this etcd key, or was changed.

        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see ``_cipher``

        try:
            data = b64decode(text.removeprefix(SEALED).partition(":")[2], validate=True)
            opened = _cipher(self.secret).decrypt(
                data[:NONCE_BYTES], data[NONCE_BYTES:], key.encode()
            )
            return opened.decode()
        except (InvalidTag, ValueError):
            raise SealedError(
                f"the sealed value of {key!r} was changed, or belongs to another key"
            ) from None


def new_secret() -> bytes:
    """Return a new data key's secret."""
    return os.urandom(KEY_BYTES)


def data_key_of(text: str) -> str:
    """Return the id of the data key that sealed ``text``; empty if it is not sealed."""
    return text.removeprefix(SEALED).partition(":")[0] if text.startswith(SEALED) else ""


def _cipher(secret: bytes) -> AESGCM:
    # Imported here: a manager that seals nothing should not pay for it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(secret)
