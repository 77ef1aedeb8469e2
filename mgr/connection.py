"""Construct the connection to etcd from the settings."""

from __future__ import annotations

from pathlib import Path

from mgr.errors import InvalidSettingError
from mgr.link import KnownStoreState
from mgr.settings import Settings
from mgr.store.etcd import EtcdLogin, EtcdStore
from mgr.store.identity import StoreIdentity
from mgr.store.key_wrapping import CommandKeys, FileKeys, KeyWrapper
from mgr.store.keys import Keys
from mgr.tls import Tls


def connect(settings: Settings, seen: KnownStoreState) -> EtcdStore:
    """Construct the store on the running event loop; nothing is sent yet.

    The store accepts only the etcd cluster named in ``seen``, at its revision or a later one.

    Raises:
        InvalidSettingError: A file named in the settings cannot be read.

    """
    tls = login = None
    if settings.etcd_ca:
        tls = Tls.read(
            settings.etcd_ca, settings.etcd_cert, settings.etcd_key, purpose="TLS to etcd"
        )
    if settings.etcd_user:
        login = EtcdLogin(
            settings.etcd_user,
            _password(settings.etcd_password_file),
            file=settings.etcd_password_file,
        )
    return EtcdStore(
        settings.etcd,
        tls=tls,
        login=login,
        timeout_s=settings.etcd_timeout_s,
        identity=StoreIdentity(seen, probe_key=Keys(settings.cluster).leader),
    )


def key_wrapper(settings: Settings) -> KeyWrapper | None:
    """Return what wraps the data keys of sealed secrets; None if nothing is to be sealed.

    Raises:
        InvalidSettingError: The file has no valid key, or the command cannot be run.

    """
    if settings.seal_key_file:
        return FileKeys(settings.seal_key_file)
    return CommandKeys(settings.seal_command) if settings.seal_command else None


def _password(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidSettingError(f"cannot read {file}: {error.strerror}") from None
