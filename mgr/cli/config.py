"""Configuration of ``mgrctl``: from flags, the environment, a file, or defaults, in this order."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from mgr.errors import InvalidSettingError
from mgr.tls import Tls

HOSTS_VARIABLE: Final = "MGR_HOSTS"
DEFAULT_HOSTS: Final = "127.0.0.1:7400"
FILE: Final = Path("mgr", "config.toml")
TLS_FILES: Final = ("tls_ca", "tls_cert", "tls_key", "token_file")


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
    own = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "."), ".config")
    for folder in (Path(own), Path("/etc")):
        file = folder / FILE
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
            # Relative to the file, so that a folder with config and certificates can be copied.
            for name in TLS_FILES:
                if isinstance(values.get(name), str) and values[name]:
                    values[name] = str(folder / FILE.parent / values[name])
            return msgspec.convert(values, FileConfig)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidSettingError(f"cannot read {file}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise InvalidSettingError(f"{file}: {error}") from None
    return FileConfig()


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
