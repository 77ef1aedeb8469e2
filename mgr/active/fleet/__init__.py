"""What the active knows of the daemons: read for modules, stored, tuned."""
