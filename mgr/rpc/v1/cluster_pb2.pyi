import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from mgr.rpc.v1 import command_pb2 as _command_pb2
from mgr.rpc.v1 import manager_pb2 as _manager_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CounterKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COUNTER_KIND_UNSPECIFIED: _ClassVar[CounterKind]
    COUNTER_KIND_GAUGE: _ClassVar[CounterKind]
    COUNTER_KIND_COUNTER: _ClassVar[CounterKind]
    COUNTER_KIND_AVERAGE: _ClassVar[CounterKind]
    COUNTER_KIND_HISTOGRAM: _ClassVar[CounterKind]

class CounterUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COUNTER_UNIT_UNSPECIFIED: _ClassVar[CounterUnit]
    COUNTER_UNIT_BYTES: _ClassVar[CounterUnit]
    COUNTER_UNIT_SECONDS: _ClassVar[CounterUnit]

class DaemonState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DAEMON_STATE_UNSPECIFIED: _ClassVar[DaemonState]
    DAEMON_STATE_REPORTING: _ClassVar[DaemonState]
    DAEMON_STATE_AWAITED: _ClassVar[DaemonState]
    DAEMON_STATE_SILENT: _ClassVar[DaemonState]
COUNTER_KIND_UNSPECIFIED: CounterKind
COUNTER_KIND_GAUGE: CounterKind
COUNTER_KIND_COUNTER: CounterKind
COUNTER_KIND_AVERAGE: CounterKind
COUNTER_KIND_HISTOGRAM: CounterKind
COUNTER_UNIT_UNSPECIFIED: CounterUnit
COUNTER_UNIT_BYTES: CounterUnit
COUNTER_UNIT_SECONDS: CounterUnit
DAEMON_STATE_UNSPECIFIED: DaemonState
DAEMON_STATE_REPORTING: DaemonState
DAEMON_STATE_AWAITED: DaemonState
DAEMON_STATE_SILENT: DaemonState

class ReportRequest(_message.Message):
    __slots__ = ("open", "declare", "report", "result", "call", "close")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    DECLARE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    open: Open
    declare: Declare
    report: Report
    result: CommandResult
    call: _command_pb2.SessionRequest
    close: Close
    def __init__(self, open: _Optional[_Union[Open, _Mapping]] = ..., declare: _Optional[_Union[Declare, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., result: _Optional[_Union[CommandResult, _Mapping]] = ..., call: _Optional[_Union[_command_pb2.SessionRequest, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("type", "id", "host", "version", "metadata", "incarnation", "now", "commands", "rejoins")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    REJOINS_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    host: str
    version: str
    metadata: _containers.ScalarMap[str, str]
    incarnation: str
    now: _timestamp_pb2.Timestamp
    commands: _containers.RepeatedCompositeFieldContainer[_command_pb2.CommandDescription]
    rejoins: bool
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., incarnation: _Optional[str] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., commands: _Optional[_Iterable[_Union[_command_pb2.CommandDescription, _Mapping]]] = ..., rejoins: _Optional[bool] = ...) -> None: ...

class Declare(_message.Message):
    __slots__ = ("replace", "counters")
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    replace: bool
    counters: _containers.RepeatedCompositeFieldContainer[CounterDeclaration]
    def __init__(self, replace: _Optional[bool] = ..., counters: _Optional[_Iterable[_Union[CounterDeclaration, _Mapping]]] = ...) -> None: ...

class CounterDeclaration(_message.Message):
    __slots__ = ("group", "name", "kind", "description", "nick", "unit", "priority", "labels", "bounds")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    GROUP_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    NICK_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    group: str
    name: str
    kind: CounterKind
    description: str
    nick: str
    unit: CounterUnit
    priority: int
    labels: _containers.ScalarMap[str, str]
    bounds: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, group: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[_Union[CounterKind, str]] = ..., description: _Optional[str] = ..., nick: _Optional[str] = ..., unit: _Optional[_Union[CounterUnit, str]] = ..., priority: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., bounds: _Optional[_Iterable[float]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("sequence", "values", "status", "task_status", "health_metrics", "devices")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TASK_STATUS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_METRICS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    values: _containers.RepeatedScalarFieldContainer[float]
    status: Texts
    task_status: Texts
    health_metrics: HealthMetrics
    devices: Devices
    def __init__(self, sequence: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ..., status: _Optional[_Union[Texts, _Mapping]] = ..., task_status: _Optional[_Union[Texts, _Mapping]] = ..., health_metrics: _Optional[_Union[HealthMetrics, _Mapping]] = ..., devices: _Optional[_Union[Devices, _Mapping]] = ...) -> None: ...

class Texts(_message.Message):
    __slots__ = ("texts",)
    class TextsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.ScalarMap[str, str]
    def __init__(self, texts: _Optional[_Mapping[str, str]] = ...) -> None: ...

class HealthMetrics(_message.Message):
    __slots__ = ("metrics",)
    METRICS_FIELD_NUMBER: _ClassVar[int]
    metrics: _containers.RepeatedCompositeFieldContainer[HealthMetric]
    def __init__(self, metrics: _Optional[_Iterable[_Union[HealthMetric, _Mapping]]] = ...) -> None: ...

class HealthMetric(_message.Message):
    __slots__ = ("type", "value", "summary")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    type: str
    value: int
    summary: str
    def __init__(self, type: _Optional[str] = ..., value: _Optional[int] = ..., summary: _Optional[str] = ...) -> None: ...

class Devices(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("id", "name", "path", "wear_level", "daemons")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    WEAR_LEVEL_FIELD_NUMBER: _ClassVar[int]
    DAEMONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    path: str
    wear_level: float
    daemons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., path: _Optional[str] = ..., wear_level: _Optional[float] = ..., daemons: _Optional[_Iterable[str]] = ...) -> None: ...

class CommandResult(_message.Message):
    __slots__ = ("id", "response")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    id: int
    response: _command_pb2.ExecuteResponse
    def __init__(self, id: _Optional[int] = ..., response: _Optional[_Union[_command_pb2.ExecuteResponse, _Mapping]] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("configure", "command", "answer")
    CONFIGURE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    configure: Configure
    command: DaemonCommand
    answer: _command_pb2.SessionResponse
    def __init__(self, configure: _Optional[_Union[Configure, _Mapping]] = ..., command: _Optional[_Union[DaemonCommand, _Mapping]] = ..., answer: _Optional[_Union[_command_pb2.SessionResponse, _Mapping]] = ...) -> None: ...

class Configure(_message.Message):
    __slots__ = ("period", "lowest_priority", "rejoin_within", "term", "clock_ahead")
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    LOWEST_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REJOIN_WITHIN_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    CLOCK_AHEAD_FIELD_NUMBER: _ClassVar[int]
    period: _duration_pb2.Duration
    lowest_priority: int
    rejoin_within: _duration_pb2.Duration
    term: int
    clock_ahead: _duration_pb2.Duration
    def __init__(self, period: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., lowest_priority: _Optional[int] = ..., rejoin_within: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., term: _Optional[int] = ..., clock_ahead: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DaemonCommand(_message.Message):
    __slots__ = ("id", "execute", "timeout", "term", "from_manager")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    FROM_MANAGER_FIELD_NUMBER: _ClassVar[int]
    id: int
    execute: _command_pb2.ExecuteRequest
    timeout: _duration_pb2.Duration
    term: int
    from_manager: bool
    def __init__(self, id: _Optional[int] = ..., execute: _Optional[_Union[_command_pb2.ExecuteRequest, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., term: _Optional[int] = ..., from_manager: _Optional[bool] = ...) -> None: ...

class ListDaemonsRequest(_message.Message):
    __slots__ = ("type", "host", "page_size", "page_token")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    type: str
    host: str
    page_size: int
    page_token: str
    def __init__(self, type: _Optional[str] = ..., host: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDaemonsResponse(_message.Message):
    __slots__ = ("daemons", "filling", "next_page_token")
    DAEMONS_FIELD_NUMBER: _ClassVar[int]
    FILLING_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    daemons: _containers.RepeatedCompositeFieldContainer[Daemon]
    filling: bool
    next_page_token: str
    def __init__(self, daemons: _Optional[_Iterable[_Union[Daemon, _Mapping]]] = ..., filling: _Optional[bool] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Daemon(_message.Message):
    __slots__ = ("type", "id", "host", "version", "metadata", "state", "reported_at", "since", "status", "task_status")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class StatusEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TaskStatusEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REPORTED_AT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TASK_STATUS_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    host: str
    version: str
    metadata: _containers.ScalarMap[str, str]
    state: DaemonState
    reported_at: _timestamp_pb2.Timestamp
    since: _timestamp_pb2.Timestamp
    status: _containers.ScalarMap[str, str]
    task_status: _containers.ScalarMap[str, str]
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., state: _Optional[_Union[DaemonState, str]] = ..., reported_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Mapping[str, str]] = ..., task_status: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GetCountersRequest(_message.Message):
    __slots__ = ("type", "id", "path", "latest", "page_size", "page_token")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    path: str
    latest: bool
    page_size: int
    page_token: str
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., path: _Optional[str] = ..., latest: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetCountersResponse(_message.Message):
    __slots__ = ("series", "next_page_token")
    SERIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[CounterSeries]
    next_page_token: str
    def __init__(self, series: _Optional[_Iterable[_Union[CounterSeries, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CounterSeries(_message.Message):
    __slots__ = ("type", "id", "counter", "points")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    counter: CounterDeclaration
    points: _containers.RepeatedCompositeFieldContainer[CounterPoint]
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., counter: _Optional[_Union[CounterDeclaration, _Mapping]] = ..., points: _Optional[_Iterable[_Union[CounterPoint, _Mapping]]] = ...) -> None: ...

class CounterPoint(_message.Message):
    __slots__ = ("at", "values")
    AT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class GetMapRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetMapResponse(_message.Message):
    __slots__ = ("map",)
    MAP_FIELD_NUMBER: _ClassVar[int]
    map: Map
    def __init__(self, map: _Optional[_Union[Map, _Mapping]] = ...) -> None: ...

class Map(_message.Message):
    __slots__ = ("name", "version", "document")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    document: bytes
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., document: _Optional[bytes] = ...) -> None: ...

class ListMapsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListMapsResponse(_message.Message):
    __slots__ = ("maps",)
    MAPS_FIELD_NUMBER: _ClassVar[int]
    maps: _containers.RepeatedCompositeFieldContainer[Map]
    def __init__(self, maps: _Optional[_Iterable[_Union[Map, _Mapping]]] = ...) -> None: ...

class SetMapRequest(_message.Message):
    __slots__ = ("name", "document", "expected_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    document: bytes
    expected_version: int
    def __init__(self, name: _Optional[str] = ..., document: _Optional[bytes] = ..., expected_version: _Optional[int] = ...) -> None: ...

class SetMapResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class RemoveMapRequest(_message.Message):
    __slots__ = ("name", "expected_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    expected_version: int
    def __init__(self, name: _Optional[str] = ..., expected_version: _Optional[int] = ...) -> None: ...

class RemoveMapResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchMapsRequest(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class WatchMapsResponse(_message.Message):
    __slots__ = ("map", "removed", "caught_up")
    MAP_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    map: Map
    removed: str
    caught_up: _manager_pb2.Caught
    def __init__(self, map: _Optional[_Union[Map, _Mapping]] = ..., removed: _Optional[str] = ..., caught_up: _Optional[_Union[_manager_pb2.Caught, _Mapping]] = ...) -> None: ...
