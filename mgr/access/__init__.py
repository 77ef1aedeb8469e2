"""Who may do what: capabilities, and the table that says who has which."""
