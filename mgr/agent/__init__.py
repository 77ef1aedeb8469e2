"""``mgr-agent``: makes a host, and what runs on it, members of the fleet."""
