"""The mixins of ``MgrModule``: options, store, maps, database, progress, fleet, commands."""
