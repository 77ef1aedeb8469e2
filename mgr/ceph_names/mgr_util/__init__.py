"""Names that ceph-mgr modules import from ``mgr_util``, defined in ``mgr.module_api``.

The names of ``http_page``, ``page_address``, ``protection`` and ``trace`` are ours, not ceph-mgr's.
"""

from mgr.module_api.ceph.cephfs import (
    CephfsClient,
    CephfsConnectionException,
    CephfsConnectionPool,
    Module_T,
    lock_timeout_log,
    open_filesystem,
)
from mgr.module_api.ceph.earmark import CephFSEarmarkResolver
from mgr.module_api.mgr_util.address import (
    PortAlreadyInUse,
    ServerConfigException,
    build_url,
    get_default_addr,
    test_port_allocation,
)
from mgr.module_api.mgr_util.config_section import merge_dicts, name_to_config_section
from mgr.module_api.mgr_util.display import (
    BLACK,
    BLUE,
    BOLD_SEQ,
    COLOR_DARK_SEQ,
    COLOR_SEQ,
    CYAN,
    GRAY,
    GREEN,
    MAGENTA,
    RED,
    RESET_SEQ,
    UNDERLINE_SEQ,
    YELLOW,
    CLIWarning,
    bold,
    colorize,
    format_bytes,
    format_dimless,
    format_units,
    to_pretty_timedelta,
)
from mgr.module_api.mgr_util.http_page import (
    HttpPage,
    HttpReply,
    redirect_to_active,
    request_path,
    text_reply,
)
from mgr.module_api.mgr_util.page_address import (
    listen_address,
    manager_tls,
    page_options,
    page_url,
)
from mgr.module_api.mgr_util.protection import unprotected_warning, warning_html
from mgr.module_api.mgr_util.rate import get_most_recent_rate, get_time_series_rates
from mgr.module_api.mgr_util.served_tls import ServedTls, TlsFiles
from mgr.module_api.mgr_util.timer import RTimer, profile_method
from mgr.module_api.mgr_util.tls import (
    certificate_days_to_expire,
    create_self_signed_cert,
    get_cert_issuer_info,
    parse_combined_pem_file,
    password_hash,
    verify_cacrt,
    verify_tls,
    verify_tls_files,
)
from mgr.module_api.mgr_util.trace import trace_headers

__all__ = [
    "BLACK",
    "BLUE",
    "BOLD_SEQ",
    "COLOR_DARK_SEQ",
    "COLOR_SEQ",
    "CYAN",
    "GRAY",
    "GREEN",
    "MAGENTA",
    "RED",
    "RESET_SEQ",
    "UNDERLINE_SEQ",
    "YELLOW",
    "CLIWarning",
    "CephFSEarmarkResolver",
    "CephfsClient",
    "CephfsConnectionException",
    "CephfsConnectionPool",
    "HttpPage",
    "HttpReply",
    "Module_T",
    "PortAlreadyInUse",
    "RTimer",
    "ServedTls",
    "ServerConfigException",
    "TlsFiles",
    "bold",
    "build_url",
    "certificate_days_to_expire",
    "colorize",
    "create_self_signed_cert",
    "format_bytes",
    "format_dimless",
    "format_units",
    "get_cert_issuer_info",
    "get_default_addr",
    "get_most_recent_rate",
    "get_time_series_rates",
    "listen_address",
    "lock_timeout_log",
    "manager_tls",
    "merge_dicts",
    "name_to_config_section",
    "open_filesystem",
    "page_options",
    "page_url",
    "parse_combined_pem_file",
    "password_hash",
    "profile_method",
    "redirect_to_active",
    "request_path",
    "test_port_allocation",
    "text_reply",
    "to_pretty_timedelta",
    "trace_headers",
    "unprotected_warning",
    "verify_cacrt",
    "verify_tls",
    "verify_tls_files",
    "warning_html",
]
