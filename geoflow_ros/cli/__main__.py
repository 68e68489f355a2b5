"""`python -m geoflow_ros.cli`: the same as `geoflow`."""

import sys

from geoflow_ros.cli.dispatch import main

if __name__ == "__main__":
    sys.exit(main())
