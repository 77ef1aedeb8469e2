"""Which managers ``mgrctl`` speaks to, and its habits: flag, environment, file, default."""

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
TLS_FILES: Final = ("tls_ca", "tls_cert", "tls_key")


class FileConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a config file of ``mgrctl`` may say.

    Attributes:
        hosts: Managers to ask, ``host:port``.
        format: The output format used without ``-f``.
        timeout_s: How long a command may take in all.
        tls_ca: File with the CA that signed the managers' certificates; turns TLS on.
        tls_cert: File with the certificate shown to them, where they ask for one.
        tls_key: File with its private key.

    """

    hosts: tuple[str, ...] = ()
    format: str = ""
    timeout_s: float = 0.0
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""


def load_config(environment: Mapping[str, str]) -> FileConfig:
    """Read the first config file there is: the user's, then the machine's.

    Raises:
        InvalidSettingError: It cannot be read; the message names the file and the place in it.

    """
    own = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "."), ".config")
    for folder in (Path(own), Path("/etc")):
        file = folder / FILE
        try:
            return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), FileConfig)
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
    """Return how to speak TLS, by the nearest source of each file; None: in plaintext.

    Raises:
        InvalidSettingError: A file cannot be read, or a certificate is named and no CA.

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
        return None
    return Tls.read(
        names["tls_ca"], names["tls_cert"], names["tls_key"], purpose="TLS to the managers"
    )


def hosts(given: str | None, environment: Mapping[str, str], file_config: FileConfig) -> str:
    """Return the managers to ask, comma-separated: the flag's, else the next source's."""
    return given or environment.get(HOSTS_VARIABLE) or ",".join(file_config.hosts) or DEFAULT_HOSTS
