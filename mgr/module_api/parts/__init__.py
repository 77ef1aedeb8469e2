"""What a module inherits, by subject: options, store, maps, database, fleet, commands."""
