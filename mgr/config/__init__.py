"""Options: their declarations, their stored values, and which value takes effect."""
