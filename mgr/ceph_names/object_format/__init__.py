"""Names that ceph-mgr modules import from ``object_format``, defined in ``mgr.module_api``."""

from mgr.module_api.format import (
    DEFAULT_JSON_INDENT,
    CommonFormatter,
    Format,
    JSONDataProvider,
    JSONFormatter,
    ObjectFormatAdapter,
    SimpleData,
    SimpleDataProvider,
    YAMLDataProvider,
    YAMLFormatter,
)
from mgr.module_api.responder import (
    ConstantResponderBase,
    EmptyResponder,
    ErrorResponse,
    ErrorResponseBase,
    ErrorResponseHandler,
    Responder,
    ReturnValueAdapter,
    ReturnValueProvider,
    StatusValueAdapter,
    StatusValueProvider,
    UnknownFormat,
    UnsupportedFormat,
)
from mgr.module_api.responder import (
    _is_return_value_provider as _is_return_value_provider,
)
from mgr.module_api.responder import (
    _is_status_value_provider as _is_status_value_provider,
)

__all__ = [
    "DEFAULT_JSON_INDENT",
    "CommonFormatter",
    "ConstantResponderBase",
    "EmptyResponder",
    "ErrorResponse",
    "ErrorResponseBase",
    "ErrorResponseHandler",
    "Format",
    "JSONDataProvider",
    "JSONFormatter",
    "ObjectFormatAdapter",
    "Responder",
    "ReturnValueAdapter",
    "ReturnValueProvider",
    "SimpleData",
    "SimpleDataProvider",
    "StatusValueAdapter",
    "StatusValueProvider",
    "UnknownFormat",
    "UnsupportedFormat",
    "YAMLDataProvider",
    "YAMLFormatter",
]
