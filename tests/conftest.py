"""What every test process has in common."""

from __future__ import annotations

import os
import signal

from tracelift_ray.garbage import collect_rarely

# One thread for each process, as the actors have: on two cores more of them only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray runs its workers at nice 15, where they get next to nothing beside other work on the machine.
os.environ.setdefault("RAY_worker_niceness", "0")
# Ray reports nothing to its makers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Models are local directories; nothing asks a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
collect_rarely()
# A shell starts what it runs in the background deaf to Ctrl-C, and what a test starts would be so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
