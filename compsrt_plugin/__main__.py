"""`python -m compsrt_plugin …` is `basicsr …`."""

import sys

from compsrt_plugin.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
