"""The audit: a record of every change that somebody requested and of every refusal."""
