# SPDX-License-Identifier: Apache-2.0
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Position(_message.Message):
    __slots__ = ("revision", "turn")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    revision: int
    turn: bytes
    def __init__(self, revision: _Optional[int] = ..., turn: _Optional[bytes] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("hello", "enter", "delta", "leave", "ack", "ask", "inspect", "inspected", "sequence")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ENTER_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    INSPECT_FIELD_NUMBER: _ClassVar[int]
    INSPECTED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    enter: Enter
    delta: Delta
    leave: Leave
    ack: Ack
    ask: Ask
    inspect: Inspect
    inspected: Inspected
    sequence: int
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., enter: _Optional[_Union[Enter, _Mapping]] = ..., delta: _Optional[_Union[Delta, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ..., inspect: _Optional[_Union[Inspect, _Mapping]] = ..., inspected: _Optional[_Union[Inspected, _Mapping]] = ..., sequence: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("host", "position", "interest", "digests", "tunnel_ip", "version", "bridge", "compared", "inspects", "bridge_mappings", "availability_zone")
    HOST_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    INTEREST_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    TUNNEL_IP_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    INSPECTS_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_ZONE_FIELD_NUMBER: _ClassVar[int]
    host: str
    position: Position
    interest: bytes
    digests: _containers.RepeatedCompositeFieldContainer[ScopeDigest]
    tunnel_ip: str
    version: str
    bridge: str
    compared: bool
    inspects: bool
    bridge_mappings: _containers.RepeatedCompositeFieldContainer[BridgeMapping]
    availability_zone: str
    def __init__(self, host: _Optional[str] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., interest: _Optional[bytes] = ..., digests: _Optional[_Iterable[_Union[ScopeDigest, _Mapping]]] = ..., tunnel_ip: _Optional[str] = ..., version: _Optional[str] = ..., bridge: _Optional[str] = ..., compared: _Optional[bool] = ..., inspects: _Optional[bool] = ..., bridge_mappings: _Optional[_Iterable[_Union[BridgeMapping, _Mapping]]] = ..., availability_zone: _Optional[str] = ...) -> None: ...

class BridgeMapping(_message.Message):
    __slots__ = ("physical_network", "bridge")
    PHYSICAL_NETWORK_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_FIELD_NUMBER: _ClassVar[int]
    physical_network: str
    bridge: str
    def __init__(self, physical_network: _Optional[str] = ..., bridge: _Optional[str] = ...) -> None: ...

class ScopeDigest(_message.Message):
    __slots__ = ("scope", "digest")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    scope: str
    digest: bytes
    def __init__(self, scope: _Optional[str] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Enter(_message.Message):
    __slots__ = ("scope", "position", "rows", "last")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    scope: str
    position: Position
    rows: _containers.RepeatedCompositeFieldContainer[Row]
    last: bool
    def __init__(self, scope: _Optional[str] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[Row, _Mapping]]] = ..., last: _Optional[bool] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("after", "to", "rows", "request_ids", "whole")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    after: Position
    to: Position
    rows: _containers.RepeatedCompositeFieldContainer[Row]
    request_ids: _containers.RepeatedScalarFieldContainer[str]
    whole: bool
    def __init__(self, after: _Optional[_Union[Position, _Mapping]] = ..., to: _Optional[_Union[Position, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[Row, _Mapping]]] = ..., request_ids: _Optional[_Iterable[str]] = ..., whole: _Optional[bool] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ("scope", "position")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    scope: str
    position: Position
    def __init__(self, scope: _Optional[str] = ..., position: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class Row(_message.Message):
    __slots__ = ("scope", "key", "body")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    scope: str
    key: str
    body: bytes
    def __init__(self, scope: _Optional[str] = ..., key: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("position", "reports", "failures", "claims")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    position: Position
    reports: _containers.RepeatedCompositeFieldContainer[Report]
    failures: _containers.RepeatedCompositeFieldContainer[Failure]
    claims: _containers.RepeatedCompositeFieldContainer[Claim]
    def __init__(self, position: _Optional[_Union[Position, _Mapping]] = ..., reports: _Optional[_Iterable[_Union[Report, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[Failure, _Mapping]]] = ..., claims: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("key", "generation", "realised", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REALISED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: str
    generation: int
    realised: bool
    reason: str
    def __init__(self, key: _Optional[str] = ..., generation: _Optional[int] = ..., realised: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("key", "address", "mac")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    key: str
    address: str
    mac: str
    def __init__(self, key: _Optional[str] = ..., address: _Optional[str] = ..., mac: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("scope", "key", "reason")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    scope: str
    key: str
    reason: str
    def __init__(self, scope: _Optional[str] = ..., key: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Inspect(_message.Message):
    __slots__ = ("id", "what", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: int
    what: str
    name: str
    def __init__(self, id: _Optional[int] = ..., what: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Inspected(_message.Message):
    __slots__ = ("id", "json")
    ID_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    id: int
    json: bytes
    def __init__(self, id: _Optional[int] = ..., json: _Optional[bytes] = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("what", "name")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    what: str
    name: str
    def __init__(self, what: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: bytes
    def __init__(self, json: _Optional[bytes] = ...) -> None: ...
