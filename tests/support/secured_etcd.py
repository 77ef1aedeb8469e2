"""Etcds that demand authentication: certificates, users."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import grpc
import trustme

from mgr.store import etcd3_stubs
from mgr.tls import Tls
from tests.support.etcd import Etcd

ROOT: Final = ("root", "root's secret")
USER: Final = ("mgr", "mgr's secret")
OWNED: Final = b"/mgr/"
"""The prefix that the user may read and write."""


@dataclass(frozen=True)
class Certificates:
    """A CA, a server's certificate, and what a client shows."""

    folder: Path
    ca: bytes
    client: trustme.LeafCert
    authority: trustme.CA

    @classmethod
    def make(cls, folder: Path, *, client_name: str = USER[0]) -> Certificates:
        """Make new ones; the server's files are in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        server.private_key_pem.write_to_path(folder / "server.key")
        server.cert_chain_pems[0].write_to_path(folder / "server.pem")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        client = authority.issue_cert("client.invalid", common_name=client_name)
        return cls(folder, authority.cert_pem.bytes(), client, authority)

    def flags(self, *, client_certificates: bool) -> dict[str, str]:
        """What etcd is told."""
        flags = {"cert-file": "server.pem", "key-file": "server.key"}
        if client_certificates:
            flags |= {"trusted-ca-file": "ca.pem"}
        paths = {flag: str(self.folder / name) for flag, name in flags.items()}
        return paths | ({"client-cert-auth": "true"} if client_certificates else {})

    def settings(self, *, mutual: bool) -> dict[str, str]:
        """What a manager is told; ``mutual``: to serve only who shows a certificate."""
        files = {"tls_cert": "server.pem", "tls_key": "server.key"}
        files |= {"tls_ca": "ca.pem"} if mutual else {}
        return {name: str(self.folder / file) for name, file in files.items()}

    def write_client(self) -> None:
        """Put the client's files beside the server's, for programs that read them."""
        self.client.cert_chain_pems[0].write_to_path(self.folder / "client.pem")
        self.client.private_key_pem.write_to_path(self.folder / "client.key")

    def tls(self, *, with_client: bool) -> Tls:
        """What a store is told."""
        return self._shown(self.client) if with_client else Tls(self.ca)

    def tls_of(self, name: str) -> Tls:
        """What a client says that is called ``name``."""
        return self._shown(self.authority.issue_cert("client.invalid", common_name=name))

    def _shown(self, client: trustme.LeafCert) -> Tls:
        cert, key = client.cert_chain_pems[0].bytes(), client.private_key_pem.bytes()
        return Tls(self.ca, cert=cert, key=key)


@contextlib.contextmanager
def secured(
    directory: Path,
    *,
    certificates: Certificates | None = None,
    client_certificates: bool = False,
    users: bool = False,
    flags: Mapping[str, str] | None = None,
) -> Iterator[Etcd]:
    """Run an etcd with TLS, with users, or with both."""
    tls_flags = certificates.flags(client_certificates=client_certificates) if certificates else {}
    etcd = Etcd(
        directory / uuid.uuid4().hex,
        # The cheapest password hash: it is the login that is tested, not its cost.
        flags={"bcrypt-cost": "4", **tls_flags, **(flags or {})},
        scheme="https" if certificates else "http",
    )
    with etcd:
        if users:
            with Administrator(etcd, certificates) as root:
                root.enable_users()
        yield etcd


class Administrator:
    """What an operator does with etcdctl; blocking."""

    def __init__(self, etcd: Etcd, certificates: Certificates | None) -> None:
        if certificates is None:
            self._channel = grpc.insecure_channel(etcd.address)
        else:
            tls = certificates.tls(with_client=True)
            self._channel = grpc.secure_channel(
                etcd.address, grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
            )
        self._metadata: tuple[tuple[str, str], ...] = ()

    def call(self, service: str, name: str, /, **fields: Any) -> Any:
        """Call one method of etcd."""
        method = etcd3_stubs.method(service, name)
        call = self._channel.unary_unary(
            method.path, method.request.SerializeToString, method.response.FromString
        )
        return call(
            method.request(**fields), timeout=10, metadata=self._metadata, wait_for_ready=True
        )

    def log_in(self) -> None:
        """Go on as root."""
        answer = self.call("Auth", "Authenticate", name=ROOT[0], password=ROOT[1])
        self._metadata = (("token", answer.token),)

    def enable_users(self) -> None:
        """Make root, and one user who may touch what is ours and nothing else."""
        for name, password in (ROOT, USER):
            self.call("Auth", "UserAdd", name=name, password=password)
        self.call("Auth", "RoleAdd", name="owner")
        everything = {"permType": 2, "key": OWNED, "range_end": OWNED[:-1] + b"0"}
        self.call("Auth", "RoleGrantPermission", name="owner", perm=everything)
        self.call("Auth", "UserGrantRole", user=ROOT[0], role="root")
        self.call("Auth", "UserGrantRole", user=USER[0], role="owner")
        self.call("Auth", "AuthEnable")

    def change_users(self) -> None:
        """Change something about users: etcd then calls every token's knowledge old."""
        self.log_in()
        name = f"role-{uuid.uuid4().hex}"
        self.call("Auth", "RoleAdd", name=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
