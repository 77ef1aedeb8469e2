"""The active role of a manager: modules, commands, documents and health of one term."""
