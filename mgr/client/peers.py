"""The addresses of the managers known to a client, and one gRPC channel to each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from mgr.client.token import with_token
from mgr.errors import InvalidSettingError
from mgr.rpc.v1.command_pb2_grpc import CommandServiceStub
from mgr.rpc.v1.manager_pb2_grpc import ManagerServiceStub
from mgr.tls import Tls

if TYPE_CHECKING:
    from mgr.rpc.v1.certificate_pb2_grpc import CertificateServiceAsyncStub
    from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceAsyncStub

DEFAULT_PORT: Final = 7400
CONNECT_MS: Final = 2_000
PING_TIMEOUT_MS: Final = 1_500

_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.%]*:[0-9A-Za-z:.%]*\]")

OPTIONS: Final = (
    # Without a limit for pings a frozen manager is noticed only after a minute.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # Despite its name this is the time that one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    # The name of a manager may get another address; gRPC's default is half a minute.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # gRPC's pool shares the reconnect backoff of an address between all channels of a process;
    # ``Peers`` makes a new channel in order to skip that backoff.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 64 << 10),
    # Each peer is one address: a proxy set in the shell's environment would only do harm.
    ("grpc.enable_http_proxy", 0),
)


def addresses_in(hosts: str | Iterable[str], *, port: int = DEFAULT_PORT) -> tuple[str, ...]:
    """Parse ``host[:port]``, several separated by commas or as an iterable; ``port`` by default.

    Raises:
        InvalidSettingError: One is no address, or there is none.

    """
    parts = hosts.split(",") if isinstance(hosts, str) else list(hosts)
    found = tuple(dict.fromkeys(_address(part.strip(), port) for part in parts if part.strip()))
    if not found:
        raise InvalidSettingError("no manager address: give host:port, several separated by ','")
    return found


class Peer:
    """One manager's channel, connected on first use."""

    def __init__(self, address: str, tls: Tls | None) -> None:
        """Make a channel to ``address``, in plaintext if ``tls`` is None."""
        self.address = address
        self.tls = tls
        if tls is None:
            self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(
                tls.ca or None, tls.key or None, tls.cert or None
            )
            self.channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)
        self._shown = self.channel if tls is None else with_token(self.channel, tls.token)
        self.commands = CommandServiceStub(self._shown)
        self.manager = ManagerServiceStub(self._shown)

    @cached_property
    def cluster(self) -> ClusterServiceAsyncStub:
        """The service of maps and daemons; its code is imported when it is first needed."""
        from mgr.rpc.v1.cluster_pb2_grpc import ClusterServiceStub  # noqa: PLC0415 - see above

        return ClusterServiceStub(self._shown)

    @cached_property
    def certificates(self) -> CertificateServiceAsyncStub:
        """The service that renews certificates; imported as above."""
        from mgr.rpc.v1.certificate_pb2_grpc import (  # noqa: PLC0415 - see above
            CertificateServiceStub,
        )

        return CertificateServiceStub(self._shown)

    def connect_failed(self) -> bool:
        """Whether the last attempt to connect failed, and gRPC waits before the next."""
        return self.channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE

    def ready(self) -> bool:
        """Whether a request given to the channel now leaves this machine at once."""
        return self.channel.get_state() is grpc.ChannelConnectivity.READY

    def connected(self) -> bool:
        """Whether a request given to the channel can have left this machine."""
        return self.channel.get_state() in {
            grpc.ChannelConnectivity.READY,
            grpc.ChannelConnectivity.IDLE,
        }


class Peers:
    """All known managers, in the order in which their addresses were learned."""

    def __init__(self, addresses: Iterable[str], tls: Tls | None = None) -> None:
        """Begin with the ``addresses`` that the user gave; use ``tls`` for each."""
        self._tls = tls
        self.given: Final = tuple(addresses)
        """The addresses that the user gave."""
        self._read_at = _changed_at(tls)
        self._known: dict[str, Peer | None] = dict.fromkeys(self.given)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses known now."""
        return tuple(self._known)

    def learn(self, address: str) -> None:
        """Add ``address``, unless it is known, empty or not reachable for this client."""
        if address and self.reachable(address):
            self._known.setdefault(address, None)

    def reachable(self, address: str) -> bool:
        """Return whether this client can talk to a manager at ``address``.

        The addresses that managers publish demand certificates. A client that has only a token
        uses the addresses that it was given (``token_listen``).
        """
        token_only = self._tls is not None and bool(self._tls.token) and not self._tls.cert
        return not token_only or address in self._known

    def at(self, address: str) -> Peer:
        """Return the manager at ``address``; call this again for each attempt.

        A channel that could not connect refuses every call during gRPC's backoff, which grows to
        seconds, even if its manager is back meanwhile and leads. So such a channel is replaced and
        each attempt really connects; the pauses between attempts are the caller's to make. A
        channel that has to connect again is replaced as well if its certificate was renewed.
        """
        peer = self._known.get(address)
        if peer is None or not peer.ready():
            self._use_renewed_files()
            if peer is None or peer.connect_failed() or peer.tls is not self._tls:
                peer = self._known[address] = Peer(address, self._tls)
        return peer

    def redial(self, address: str) -> None:
        """Use a new connection to ``address`` from now on; calls in progress keep theirs.

        Behind one address may be several managers: a load balancer chooses one per connection.
        """
        if address in self._known:
            self._known[address] = None

    def _use_renewed_files(self) -> None:
        """Read the certificate again if its file was replaced."""
        if self._tls is None or (changed_at := _changed_at(self._tls)) == self._read_at:
            return
        # Files that do not fit together yet are read again at the next attempt.
        with contextlib.suppress(InvalidSettingError):
            self._tls = self._tls.read_again()
            self._read_at = changed_at

    async def close(self) -> None:
        """Close every channel; calls in progress fail."""
        for address, peer in self._known.items():
            if peer is not None:
                self._known[address] = None
                await peer.channel.close()


def _changed_at(tls: Tls | None) -> int:
    """Return when the file of the certificate was written, in nanoseconds; 0 without a file."""
    if tls is None or not tls.cert_file:
        return 0
    try:
        return Path(tls.cert_file).stat().st_mtime_ns
    except OSError:
        return 0


def _address(text: str, default_port: int) -> str:
    alone = _HOST.fullmatch(text)
    host, port = (text, str(default_port)) if alone else text.rpartition(":")[::2]
    if not _HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidSettingError(f"{text!r} is not host:port (IPv6: [host]:port)")
    return f"{host}:{int(port)}"
