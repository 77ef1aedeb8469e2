"""Generated from proto/mgr/rpc/v1; never edited."""
