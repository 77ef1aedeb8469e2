"""What ceph-mgr modules import from ``cherrypy_mgr``. Its home is ``mgr.module_api``."""

from mgr.module_api.mgr_util.cherrypy import CherryPyMgr

__all__ = ["CherryPyMgr"]
