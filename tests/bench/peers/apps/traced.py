"""emr's command line under cProfile, for machines on which py-spy may not look into processes.

python -m tests.bench.peers.apps.traced FILE ARGUMENTS…
"""

from __future__ import annotations

import cProfile
import sys

from emr.cli import main

if __name__ == "__main__":
    profile = cProfile.Profile()
    try:
        status = profile.runcall(main, sys.argv[2:])
    finally:
        profile.dump_stats(sys.argv[1])
    sys.exit(status)
