"""Configuration of ``mgrctl``: from flags, the environment, a file, or defaults, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from mgr.errors import InvalidSettingError, why
from mgr.tls import Tls

HOSTS_VARIABLE: Final = "MGR_HOSTS"
DEFAULT_HOSTS: Final = "127.0.0.1:7400"
FOLDER: Final = "mgr"
FILE: Final = "config.toml"
TLS_FILES: Final = ("tls_ca", "tls_cert", "tls_key", "token_file")
CLIENT_VARIABLES: Final = frozenset(
    {HOSTS_VARIABLE, *(f"MGR_{name.upper()}" for name in TLS_FILES)}
)
"""Environment variables that say which managers to talk to, and with which certificates."""


class FileConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of a config file of ``mgrctl``.

    Attributes:
        hosts: Managers to connect to, ``host:port``.
        format: The output format used without ``-f``.
        timeout_s: How long a command may take in all.
        tls_ca: File with the CA that signed the managers' certificates; turns TLS on.
        tls_cert: File with the certificate to show to managers that ask for one.
        tls_key: File with its private key.
        token_file: File with a token to show to the managers, over TLS only.

    """

    hosts: tuple[str, ...] = ()
    format: str = ""
    timeout_s: float = 0.0
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    token_file: str = ""


def load_config(environment: Mapping[str, str]) -> FileConfig:
    """Read the user's config file, or the machine's if the user has none.

    Raises:
        InvalidSettingError: It is unreadable or invalid; the message names the file and the place.

    """
    for folder in (user_folder(environment), Path("/etc", FOLDER)):
        values = read_toml(folder / FILE)
        if values is not None:
            relative_to(folder, values)
            try:
                return msgspec.convert(values, FileConfig)
            except msgspec.ValidationError as error:
                raise InvalidSettingError(f"{folder / FILE}: {error}") from None
    return FileConfig()


def user_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder with the user's own files of configuration."""
    home = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "."), ".config")
    return Path(home, FOLDER)


def read_toml(file: Path) -> dict[str, Any] | None:
    """Return the content of ``file``; None if it does not exist.

    Raises:
        InvalidSettingError: It is unreadable, or no TOML.

    """
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"cannot read {file}: {why(error)}") from None
    import tomllib  # noqa: PLC0415 - most users have no such file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettingError(f"{file}: {error}") from None


def relative_to(folder: Path, values: Any) -> None:
    """Make the files that ``values`` name relative to ``folder``.

    A folder with a configuration and certificates can then be copied.
    """
    for name in TLS_FILES if isinstance(values, dict) else ():
        if isinstance(values.get(name), str) and values[name]:
            values[name] = str(folder / values[name])


def tls(
    given: Mapping[str, str | None], environment: Mapping[str, str], file_config: FileConfig
) -> Tls | None:
    """Return what to show to the managers, each file from the first source that names it.

    None for plaintext, in which no token is ever sent.

    Raises:
        InvalidSettingError: A file cannot be read, or a certificate or token is given without a CA.

    """
    names = {
        name: given.get(name)
        or environment.get(f"MGR_{name.upper()}")
        or getattr(file_config, name)
        for name in TLS_FILES
    }
    if not names["tls_ca"]:
        if given.get("tls_cert") or given.get("tls_key"):
            raise InvalidSettingError("--tls-cert and --tls-key need --tls-ca: it turns TLS on")
        if names["token_file"]:
            raise InvalidSettingError(
                "a token is not sent in plaintext: --token-file needs --tls-ca, which turns TLS on"
            )
        return None
    found = Tls.read(
        names["tls_ca"], names["tls_cert"], names["tls_key"], purpose="TLS to the managers"
    )
    return found.with_token(names["token_file"]) if names["token_file"] else found


def hosts(given: str | None, environment: Mapping[str, str], file_config: FileConfig) -> str:
    """Return the managers to connect to, comma-separated, from the first source that has any."""
    return given or environment.get(HOSTS_VARIABLE) or ",".join(file_config.hosts) or DEFAULT_HOSTS
