"""What machines use, and how it is shown."""
