"""The page of a machine, its server, and a browser that looks at it."""
