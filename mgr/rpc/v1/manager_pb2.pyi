import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogPriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_PRIORITY_UNSPECIFIED: _ClassVar[LogPriority]
    LOG_PRIORITY_DEBUG: _ClassVar[LogPriority]
    LOG_PRIORITY_INFO: _ClassVar[LogPriority]
    LOG_PRIORITY_SECURITY: _ClassVar[LogPriority]
    LOG_PRIORITY_WARNING: _ClassVar[LogPriority]
    LOG_PRIORITY_ERROR: _ClassVar[LogPriority]
LOG_PRIORITY_UNSPECIFIED: LogPriority
LOG_PRIORITY_DEBUG: LogPriority
LOG_PRIORITY_INFO: LogPriority
LOG_PRIORITY_SECURITY: LogPriority
LOG_PRIORITY_WARNING: LogPriority
LOG_PRIORITY_ERROR: LogPriority

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("name", "cluster", "version", "phase", "note", "active", "standbys", "view_age", "incarnation", "clock", "at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    STANDBYS_FIELD_NUMBER: _ClassVar[int]
    VIEW_AGE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    cluster: str
    version: str
    phase: str
    note: str
    active: Active
    standbys: _containers.RepeatedCompositeFieldContainer[Standby]
    view_age: _duration_pb2.Duration
    incarnation: str
    clock: _duration_pb2.Duration
    at: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., cluster: _Optional[str] = ..., version: _Optional[str] = ..., phase: _Optional[str] = ..., note: _Optional[str] = ..., active: _Optional[_Union[Active, _Mapping]] = ..., standbys: _Optional[_Iterable[_Union[Standby, _Mapping]]] = ..., view_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., incarnation: _Optional[str] = ..., clock: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Active(_message.Message):
    __slots__ = ("name", "term", "grpc_address", "http_address", "since")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    GRPC_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HTTP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    term: int
    grpc_address: str
    http_address: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., term: _Optional[int] = ..., grpc_address: _Optional[str] = ..., http_address: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Standby(_message.Message):
    __slots__ = ("name", "grpc_address", "http_address", "version", "warm")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GRPC_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HTTP_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    name: str
    grpc_address: str
    http_address: str
    version: str
    warm: bool
    def __init__(self, name: _Optional[str] = ..., grpc_address: _Optional[str] = ..., http_address: _Optional[str] = ..., version: _Optional[str] = ..., warm: _Optional[bool] = ...) -> None: ...

class WatchActiveRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchActiveResponse(_message.Message):
    __slots__ = ("active", "view_age", "name", "standbys")
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    VIEW_AGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STANDBYS_FIELD_NUMBER: _ClassVar[int]
    active: Active
    view_age: _duration_pb2.Duration
    name: str
    standbys: _containers.RepeatedCompositeFieldContainer[Standby]
    def __init__(self, active: _Optional[_Union[Active, _Mapping]] = ..., view_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., name: _Optional[str] = ..., standbys: _Optional[_Iterable[_Union[Standby, _Mapping]]] = ...) -> None: ...

class FailRequest(_message.Message):
    __slots__ = ("name", "successor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    successor: str
    def __init__(self, name: _Optional[str] = ..., successor: _Optional[str] = ...) -> None: ...

class FailResponse(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class FollowLogRequest(_message.Message):
    __slots__ = ("past", "priority", "channel")
    PAST_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    past: int
    priority: LogPriority
    channel: str
    def __init__(self, past: _Optional[int] = ..., priority: _Optional[_Union[LogPriority, str]] = ..., channel: _Optional[str] = ...) -> None: ...

class FollowLogResponse(_message.Message):
    __slots__ = ("entry", "caught_up", "dropped")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    entry: LogEntry
    caught_up: Caught
    dropped: int
    def __init__(self, entry: _Optional[_Union[LogEntry, _Mapping]] = ..., caught_up: _Optional[_Union[Caught, _Mapping]] = ..., dropped: _Optional[int] = ...) -> None: ...

class Caught(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("sequence", "at", "name", "channel", "priority", "message", "term")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    at: _timestamp_pb2.Timestamp
    name: str
    channel: str
    priority: LogPriority
    message: str
    term: int
    def __init__(self, sequence: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., name: _Optional[str] = ..., channel: _Optional[str] = ..., priority: _Optional[_Union[LogPriority, str]] = ..., message: _Optional[str] = ..., term: _Optional[int] = ...) -> None: ...
