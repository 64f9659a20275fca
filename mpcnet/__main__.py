"""`python -m mpcnet` is the `mpcnet` command."""

import sys

from mpcnet.cli import main

__all__: list[str] = []

sys.exit(main())
