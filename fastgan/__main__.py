"""`python -m fastgan` is the command line."""

import sys

from fastgan.cli import main

sys.exit(main())
