"""`python -m innkeeper.cli` is `inn`."""

import sys

from innkeeper.cli import main

sys.exit(main())
