"""mgrctl, the command line."""
