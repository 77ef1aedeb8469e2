"""The dashboard, asked as a browser asks it, with a fake manager behind it."""
