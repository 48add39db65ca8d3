"""Installing a machine: what it is installed from, what answers the installer, what was made and is removed if nothing comes of it."""
