"""Run as ``python -m calowatch.cli``."""

import sys

from calowatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
