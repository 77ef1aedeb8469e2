from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinRequest(_message.Message):
    __slots__ = ("token_id", "secret", "name", "signing_request", "addresses")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIGNING_REQUEST_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    secret: str
    name: str
    signing_request: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, token_id: _Optional[str] = ..., secret: _Optional[str] = ..., name: _Optional[str] = ..., signing_request: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("certificate", "ca", "hosts", "manager")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CA_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    MANAGER_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    ca: bytes
    hosts: _containers.RepeatedScalarFieldContainer[str]
    manager: ManagerSetup
    def __init__(self, certificate: _Optional[bytes] = ..., ca: _Optional[bytes] = ..., hosts: _Optional[_Iterable[str]] = ..., manager: _Optional[_Union[ManagerSetup, _Mapping]] = ...) -> None: ...

class ManagerSetup(_message.Message):
    __slots__ = ("cluster", "etcd", "ca_passphrase")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ETCD_FIELD_NUMBER: _ClassVar[int]
    CA_PASSPHRASE_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    etcd: _containers.RepeatedScalarFieldContainer[str]
    ca_passphrase: bytes
    def __init__(self, cluster: _Optional[str] = ..., etcd: _Optional[_Iterable[str]] = ..., ca_passphrase: _Optional[bytes] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("signing_request", "proof")
    SIGNING_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    signing_request: bytes
    proof: bytes
    def __init__(self, signing_request: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("certificate", "ca")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CA_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    ca: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., ca: _Optional[bytes] = ...) -> None: ...

class SignRequest(_message.Message):
    __slots__ = ("signing_request", "name", "addresses", "token_id", "secret", "presented", "proof")
    SIGNING_REQUEST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    PRESENTED_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    signing_request: bytes
    name: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    token_id: str
    secret: str
    presented: bytes
    proof: bytes
    def __init__(self, signing_request: _Optional[bytes] = ..., name: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., token_id: _Optional[str] = ..., secret: _Optional[str] = ..., presented: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class SignResponse(_message.Message):
    __slots__ = ("certificate",)
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    def __init__(self, certificate: _Optional[bytes] = ...) -> None: ...
