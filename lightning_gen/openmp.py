"""How PyTorch's threads wait on the CPU. It must be imported before torch, which reads the variables when it is loaded.

Between two parallel loops, OpenMP's threads wait for each other in a spinning loop. On cores that other processes use,
too, a thread that the others wait for may not be running, and they spin through its time slices. Here they sleep after
a short time of spinning. Variables that are set by the user are not changed.
"""

import os

SPIN_COUNT = "10000"
"""Iterations after which a thread of GNU's OpenMP sleeps; its own default is 300,000, some milliseconds."""

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
