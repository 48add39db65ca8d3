"""Boot protocols and tables."""
