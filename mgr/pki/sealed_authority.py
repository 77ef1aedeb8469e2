"""The CA's key as etcd has it, encrypted, and the passphrase that opens it on this host."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mgr.errors import InvalidSettingError, NotPermittedError
from mgr.pki.authority import Authority
from mgr.pki.record import AuthorityRecord, read_authority
from mgr.store.api import Reader
from mgr.store.keys import Keys
from mgr.tls import PASSPHRASE_FILE, loose_key

KEY_ELSEWHERE: Final = (
    "the CA's key is not in this cluster: it was handed out by mgrd init; "
    "'mgrd issue' signs certificates with it"
)


@dataclass(frozen=True, slots=True)
class SealedAuthority:
    """Opens the CA's key, with the passphrase in ``tls_dir``, if this manager has it."""

    mirror: Reader
    keys: Keys
    tls_dir: str

    def record(self) -> AuthorityRecord:
        """Return the record of the CA.

        Raises:
            NotPermittedError: There is none, or its key is not in the store.

        """
        record = read_authority(self.mirror, self.keys)
        if record is None:
            raise NotPermittedError(
                "this cluster has no CA of its own: its certificates come from elsewhere "
                "(mgrd init makes one)"
            )
        if not record.sealed_key:
            raise NotPermittedError(KEY_ELSEWHERE)
        return record

    def passphrase(self) -> bytes:
        """Read the passphrase. Blocks.

        Raises:
            NotPermittedError: This manager does not have it: it is no signer.
            InvalidSettingError: It cannot be read, or others may read it.

        """
        file = Path(self.tls_dir or ".", PASSPHRASE_FILE)
        if loose := loose_key(str(file)):
            raise InvalidSettingError(loose)
        try:
            return file.read_bytes().strip()
        except FileNotFoundError:
            raise NotPermittedError(
                f"this manager is no signer: there is no {file}; a signer has one, such as the "
                "manager of mgrd init"
            ) from None
        except OSError as error:
            raise InvalidSettingError(
                f"the passphrase of the CA's key: {file}: {error.strerror}"
            ) from None

    def has_passphrase(self) -> bool:
        """Return whether this manager is a signer. Blocks."""
        return bool(self.tls_dir) and Path(self.tls_dir, PASSPHRASE_FILE).exists()

    async def open(self) -> Authority:
        """Open the key, in a thread.

        Raises:
            NotPermittedError: See ``record`` and ``passphrase``.
            InvalidSettingError: The passphrase cannot be read, or is wrong.

        """
        record = self.record()
        return await asyncio.to_thread(
            lambda: Authority.unseal(record.certificate, record.sealed_key, self.passphrase())
        )
