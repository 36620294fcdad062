"""`python -m autoopt`"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory, which `-m` puts first: `cli` adds it last, for the commands that need it

from autoopt.cli import main

sys.exit(main())
