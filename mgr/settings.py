"""Settings of ``mgrd``: one frozen struct, from a TOML file, the environment and flags.

A later source overrides an earlier one: default, file, ``MGR_*`` environment, flag. ``mgrd --help``
and docs/reference/settings.md are generated from the descriptions of the fields. The field
``etcd_ca`` is ``etcd_ca = ...`` in the file, ``MGR_ETCD_CA`` in the environment, and ``--etcd-ca``.
"""

from __future__ import annotations

import difflib
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_type_hints

import msgspec
from msgspec import Meta

from mgr.addresses import is_loopback, split_address
from mgr.errors import InvalidSettingError
from mgr.store.keys import check_name
from mgr.tls import CA_FILE, MANAGER_FILE

ENVIRONMENT_PREFIX: Final = "MGR_"
RENEWALS_PER_LEASE: Final = 5
"""A lease is renewed five times in its length, so that two lost packets have no effect."""

OPTIONAL_ADDRESSES: Final = (
    *("grpc_advertise", "http_advertise", "token_listen", "join_listen", "join_advertise"),
)

PROFILE_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {"fast": {"watchdog_s": 0.3}}
"""Defaults that a profile changes. A value from any source overrides them."""

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one manager. They do not change while it runs."""

    id: Annotated[
        str,
        Meta(description="Name of this manager, unique in its cluster; by default its host's name"),
    ] = ""
    cluster: Annotated[
        str, Meta(description="Name of the cluster: the prefix of its keys in etcd")
    ] = "mgr"
    etcd: Annotated[
        tuple[str, ...], Meta(description="Addresses of etcd, host:port, separated by commas")
    ] = ("127.0.0.1:2379",)
    etcd_ca: Annotated[
        str, Meta(description="File with the CA that signed etcd's certificates; empty: no TLS")
    ] = ""
    etcd_cert: Annotated[str, Meta(description="File with the client certificate for etcd")] = ""
    etcd_key: Annotated[str, Meta(description="File with the client's private key for etcd")] = ""
    etcd_user: Annotated[str, Meta(description="User to log in to etcd as; empty: none")] = ""
    etcd_password_file: Annotated[str, Meta(description="File with that user's password")] = ""
    etcd_quota_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Etcd's space quota; 0: what etcd tells (since 3.6), else its default, "
            "2 GiB. Data of clients may fill 80 % of it",
        ),
    ] = 0
    etcd_timeout_s: Annotated[Seconds, Meta(description="Time limit of one request to etcd")] = 2.0
    etcd_untrusted: Annotated[
        bool,
        Meta(
            description="Lead even on an etcd older than 3.5.28 / 3.6.9, whose leases and reads "
            "have known defects: for tests on a distribution's package, never for production"
        ),
    ] = False
    state_dir: Annotated[
        str,
        Meta(
            description="Folder for a small state file, which keeps the id of the etcd cluster and "
            "its newest revision and term over a restart; empty: nothing is kept on disk"
        ),
    ] = ""
    downgrade: Annotated[
        bool,
        Meta(
            description="Lead even if a newer version of mgrd has led, whose data this one may "
            "not understand: to go back after an upgrade, in an emergency"
        ),
    ] = False
    grpc_listen: Annotated[str, Meta(description="Where gRPC listens, host:port; port 0: any")] = (
        "127.0.0.1:7400"
    )
    grpc_advertise: Annotated[
        str, Meta(description="Where clients reach gRPC, host:port; empty: as it listens")
    ] = ""
    http_listen: Annotated[str, Meta(description="Where HTTP listens, host:port; port 0: any")] = (
        "127.0.0.1:7480"
    )
    http_advertise: Annotated[
        str, Meta(description="Where clients reach HTTP, host:port; empty: as it listens")
    ] = ""
    unix_socket: Annotated[
        str,
        Meta(
            description="Path of a unix socket (mode 0660) for programs of this host, such as "
            "mgrctl: a third of the time of gRPC; empty: none"
        ),
    ] = ""
    unix_socket_group: Annotated[
        str, Meta(description="Group of that socket; empty: that of mgrd")
    ] = ""
    tls_cert: Annotated[
        str, Meta(description="File with the certificate of gRPC and HTTP; empty: no TLS")
    ] = ""
    tls_key: Annotated[str, Meta(description="File with that certificate's private key")] = ""
    tls_ca: Annotated[
        str,
        Meta(
            description="File with the CA that must have signed the certificates of gRPC clients; "
            "empty: clients need none. HTTP asks for one, and answers probes without it"
        ),
    ] = ""
    token_listen: Annotated[
        str,
        Meta(
            description="Where gRPC also listens, with TLS, for clients that have a token and no "
            "certificate, host:port; empty: nowhere"
        ),
    ] = ""
    grpc_hold_unacknowledged: Annotated[
        bool,
        Meta(
            description="true: at grpc_listen, too, no call passes before the client has "
            "acknowledged the limits of HTTP/2; a message takes 0.1 to 0.2 ms more processor time"
        ),
    ] = False
    tls_dir: Annotated[
        str,
        Meta(
            description="Folder with this manager's certificate and its CA, made by `mgrd init` or "
            "`mgrd join`; instead of tls_cert, tls_key and tls_ca"
        ),
    ] = ""
    join_listen: Annotated[
        str,
        Meta(
            description="Where gRPC listens for programs without a certificate, which join by "
            "token and can do nothing else, host:port; empty: nowhere. Needs tls_dir"
        ),
    ] = ""
    join_advertise: Annotated[
        str, Meta(description="Where they reach it, host:port; empty: as it listens")
    ] = ""
    unprotected: Annotated[
        bool,
        Meta(
            description="Listen beyond loopback without TLS and client certificates: whoever "
            "reaches the ports controls the cluster. Shown in health as MGR_UNPROTECTED"
        ),
    ] = False
    module_path: Annotated[
        tuple[str, ...],
        Meta(description="Folders with further modules, separated by commas"),
    ] = ()
    bundled_skip: Annotated[
        tuple[str, ...],
        Meta(
            description="Bundled modules that are left out, separated by commas, or `all`: "
            "module_path may then have others of these names"
        ),
    ] = ()
    module_env_dir: Annotated[
        str, Meta(description="Folder for libraries of modules; empty: `module-env` in state_dir")
    ] = ""
    module_install: Annotated[
        bool,
        Meta(
            description="Fetch, check and run the modules that `mgr module install` put into etcd; "
            "needs state_dir. Whoever may do everything in the cluster then runs code here"
        ),
    ] = False
    module_cgroup: Annotated[
        str, Meta(description="cgroup v2 folder for modules; empty: the one systemd delegates")
    ] = ""
    profile: Annotated[
        str,
        Meta(
            pattern="^(default|fast|off)$",
            description="How soon a silent leader is replaced: default (heartbeat every "
            "0.25 s, deposed after 1.5 s), fast (0.1 s, 0.5 s, and watchdog_s is 0.3 unless set; "
            "for a quick network and disk) or off (no leader heartbeat: only when its lease ends)",
        ),
    ] = "default"
    lease_ttl_s: Annotated[
        int,
        Meta(
            ge=2,
            le=60,
            description="Lease of a manager in etcd, whole seconds: when it expires, the manager's "
            "keys are deleted, the leader key included, with or without the leader heartbeat",
        ),
    ] = 5
    watchdog_s: Annotated[
        Seconds,
        Meta(
            description="A worker whose event loop sends no heartbeat for this long is killed; 0.3 "
            "by default in the fast profile"
        ),
    ] = 2.0
    drain_s: Annotated[
        Seconds,
        Meta(description="How long running commands may take to finish before a hand-over"),
    ] = 2.0
    hold_s: Annotated[
        Seconds,
        Meta(description="How long a command is queued while no manager is ready to run it"),
    ] = 5.0
    module_load_s: Annotated[
        Seconds,
        Meta(
            description="How long to wait for a module to start; after that the manager becomes "
            "active without it"
        ),
    ] = 20.0
    log_level: Annotated[
        str,
        Meta(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error"),
    ] = "info"
    log_format: Annotated[
        str, Meta(pattern="^(text|json)$", description="text for people, json for collectors")
    ] = "text"
    audit_file: Annotated[
        str,
        Meta(
            description="File to which the audit is appended, one JSON object a line; created for "
            "its owner only, and opened again when logrotate has moved it. Empty: none"
        ),
    ] = ""
    audit_syslog: Annotated[
        str,
        Meta(
            description="Where the audit is sent as syslog: a socket such as /dev/log, or "
            "host:port by UDP; empty: nowhere"
        ),
    ] = ""
    audit_required: Annotated[
        tuple[str, ...],
        Meta(
            description="Which of `file` and `syslog` must keep a record before the change is "
            "acknowledged, separated by commas; while one does not, leadership is handed over to a "
            "manager whose sinks do"
        ),
    ] = ()
    audit_timeout_s: Annotated[
        Seconds, Meta(description="How long such a sink may take to keep a record")
    ] = 2.0
    seal_key_file: Annotated[
        str,
        Meta(
            description="File with the keys under which secrets in etcd are sealed, one a line, 32 "
            "bytes in base64, readable by its owner only: the first one seals, all open. Empty: "
            "secrets are stored as they are. The same on every manager"
        ),
    ] = ""
    seal_command: Annotated[
        str,
        Meta(
            description="Command that wraps and unwraps the keys of sealed secrets, instead of "
            "seal_key_file: COMMAND wrap NAME and COMMAND unwrap NAME, from stdin to stdout"
        ),
    ] = ""
    seal_skip_unreadable: Annotated[
        bool,
        Meta(
            description="Run although sealed values cannot be opened: they are treated as absent. "
            "Only if the keys are lost for good"
        ),
    ] = False
    trace_endpoint: Annotated[
        str,
        Meta(
            description="Where spans of commands are sent by OTLP over HTTP, for instance "
            "http://127.0.0.1:4318/v1/traces; empty: no spans are made. Needs the extra `otel`"
        ),
    ] = ""
    ceph_conf: Annotated[
        str, Meta(description="Configuration file of the Ceph cluster that modules work on")
    ] = ""
    ceph_name: Annotated[
        str, Meta(pattern=r"^(\w+\.\S+)?$", description="User of that cluster; empty: mgr.<id>")
    ] = ""
    ceph_keyring: Annotated[
        str, Meta(description="File with that user's key; empty: where ceph_conf says")
    ] = ""
    grpc_message_bytes_max: Annotated[
        int,
        Meta(
            ge=65536,
            le=1 << 30,
            description="Largest gRPC message received from a client; most methods accept 1 MiB, "
            "commands and maps 2 MiB, reports of daemons 4 MiB",
        ),
    ] = 5 << 20
    grpc_streams_max: Annotated[
        int,
        Meta(
            ge=10,
            le=100_000,
            description="Concurrent calls and streams of one connection; streams of all together",
        ),
    ] = 20_000
    commands_max: Annotated[
        int, Meta(ge=1, le=100_000, description="Commands waiting for one module; more: EBUSY")
    ] = 256

    def __post_init__(self) -> None:
        """Reject settings that contradict each other."""
        check_name("cluster", self.cluster)
        if self.id:
            check_name("id", self.id)
        if not self.etcd:
            raise InvalidSettingError("etcd: name at least one address")
        self._check_addresses()
        self._check_certificates()
        self._check_audit()
        if (self.ceph_name or self.ceph_keyring) and not self.ceph_conf:
            raise InvalidSettingError("ceph_name and ceph_keyring need ceph_conf")
        if self.etcd_user and not self.etcd_password_file:
            raise InvalidSettingError("etcd_user needs etcd_password_file")

    def _check_addresses(self) -> None:
        for address in self.etcd:
            split_address(address, "etcd")
            if address.startswith("https://") and not self.etcd_ca:
                raise InvalidSettingError(f"etcd: {address!r} needs etcd_ca: without it, no TLS")
        for field in ("grpc_listen", "http_listen"):
            split_address(getattr(self, field), field)
        for field in OPTIONAL_ADDRESSES:
            if getattr(self, field):
                split_address(getattr(self, field), field)
        if self.trace_endpoint and not self.trace_endpoint.startswith(("http://", "https://")):
            raise InvalidSettingError(f"trace_endpoint: {self.trace_endpoint!r} is no http(s) URL")

    def _check_audit(self) -> None:
        if self.seal_key_file and self.seal_command:
            raise InvalidSettingError("seal_key_file and seal_command exclude each other")
        if self.audit_syslog and not self.audit_syslog.startswith("/"):
            split_address(self.audit_syslog, "audit_syslog")
        for sink in self.audit_required:
            if sink not in {"file", "syslog"} or not getattr(self, f"audit_{sink}"):
                raise InvalidSettingError(
                    f"audit_required: {sink!r}: name file or syslog, and set audit_{sink}"
                )

    def _check_certificates(self) -> None:
        for cert, key in (("etcd_cert", "etcd_key"), ("tls_cert", "tls_key")):
            if bool(getattr(self, cert)) != bool(getattr(self, key)):
                raise InvalidSettingError(f"{cert} and {key} belong together: set both or none")
        if self.etcd_cert and not self.etcd_ca:
            raise InvalidSettingError("etcd_cert and etcd_key need etcd_ca: without it, no TLS")
        if self.tls_ca and not self.tls_cert:
            raise InvalidSettingError("tls_ca needs tls_cert and tls_key: without them all is open")
        if self.token_listen and not self.tls_ca:
            raise InvalidSettingError(
                "token_listen needs tls_ca, tls_cert and tls_key: tokens are sent over TLS only, "
                "and where no certificates are demanded grpc_listen takes them, too"
            )

        if self.grpc_hold_unacknowledged and not self.tls_ca:
            raise InvalidSettingError("grpc_hold_unacknowledged needs tls_ca, tls_cert and tls_key")

    @property
    def renew_every_s(self) -> float:
        """Interval of renewals of the lease, in seconds."""
        return self.lease_ttl_s / RENEWALS_PER_LEASE

    @property
    def unprotected_listeners(self) -> tuple[str, ...]:
        """Listeners beyond loopback that serve without TLS or without client certificates."""
        if self.tls_cert and self.tls_ca:
            return ()
        return tuple(
            f"{field} {address}"
            for field in ("grpc_listen", "http_listen")
            if not is_loopback(split_address(address := getattr(self, field), field)[0])
        )

    def require_protection(self) -> None:
        """Refuse to listen beyond loopback without TLS and client certificates.

        Raises:
            InvalidSettingError: A listener would be open, and ``unprotected`` is not set.

        """
        if self.join_listen and not self.tls_dir:
            raise InvalidSettingError(
                "join_listen needs tls_dir: only a CA made by mgrd init can sign certificates"
            )
        if self.unprotected_listeners and not self.unprotected:
            raise InvalidSettingError(
                f"{' and '.join(self.unprotected_listeners)}: open to the network without TLS and "
                "client certificates: make them with 'mgrd init' or 'mgrd join' (or set tls_cert, "
                "tls_key and tls_ca), or accept it with unprotected = true"
            )


FIELDS: Final[tuple[str, ...]] = Settings.__struct_fields__


def describe() -> Iterator[tuple[str, str, Any, str]]:
    """Yield each setting: its name, its type in words, its default, its description."""
    hints = get_type_hints(Settings, include_extras=True)
    for name, default in zip(FIELDS, Settings.__struct_defaults__, strict=True):
        metas = [meta for meta in get_args(hints[name])[1:] if isinstance(meta, Meta)]
        words = next(meta.description for meta in metas if meta.description)
        yield name, _type_name(default), default, words


def load(
    *,
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge the three sources; ``flags`` contains only the flags that were given.

    Raises:
        InvalidSettingError: A value is invalid or a name is unknown; the message names it and its
            source.

    """
    merged: dict[str, Any] = {"id": socket.gethostname().split(".")[0]}
    merged |= _from_file(file) if file else {}
    merged |= _from_environment(environment or {})
    merged |= dict(flags or {})
    _expand_tls_dir(merged)
    if not merged["id"]:
        # For instance an unset variable in a systemd unit: several managers would have that name.
        raise InvalidSettingError("id: it is empty; leave it out to use the name of this host")
    merged = {**PROFILE_DEFAULTS.get(merged.get("profile", ""), {}), **merged}
    try:
        return msgspec.convert(
            {name: _parse(name, value) for name, value in merged.items()}, Settings, strict=False
        )
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InvalidSettingError):
            raise error.__cause__ from None
        what, _, path = str(error).partition(" - at `$.")
        raise InvalidSettingError(f"{path.rstrip('`') or 'settings'}: {what}") from None


def _expand_tls_dir(merged: dict[str, Any]) -> None:
    """Set the settings that ``tls_dir`` stands for."""
    if not merged.get("tls_dir"):
        return
    for name in ("tls_cert", "tls_key", "tls_ca"):
        if merged.get(name):
            raise InvalidSettingError(f"tls_dir stands for {name}: set one of them only")
    folder = Path(str(merged["tls_dir"]))
    merged["tls_cert"] = merged["tls_key"] = str(folder / MANAGER_FILE)
    merged["tls_ca"] = str(folder / CA_FILE)


def _from_file(file: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettingError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"{file}: {error}") from None
    for name in values:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidSettingError(f"{file}: there is no setting {name!r}{hint}")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    # Other MGR_ variables, such as MGR_HOSTS, belong to the client and are ignored.
    return {
        name: environment[variable]
        for name in FIELDS
        if (variable := ENVIRONMENT_PREFIX + name.upper()) in environment
    }


def _parse(name: str, value: Any) -> Any:
    several = name in {"etcd", "module_path", "bundled_skip", "audit_required"}
    if several and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _type_name(default: Any) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, tuple):
        return "list"
    return {int: "integer", float: "seconds"}.get(type(default), "text")
