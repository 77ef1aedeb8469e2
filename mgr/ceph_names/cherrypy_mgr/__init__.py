"""Names that ceph-mgr modules import from ``cherrypy_mgr``, defined in ``mgr.module_api``."""

from mgr.module_api.mgr_util.cherrypy import CherryPyMgr

__all__ = ["CherryPyMgr"]
