"""Progress: what takes long, how far it is, and what was done lately."""
