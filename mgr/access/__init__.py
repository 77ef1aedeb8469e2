"""Authorization: capabilities, and the table that assigns them to clients."""
