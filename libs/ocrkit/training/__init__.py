"""Training a recognizer on a user's lines. Torch lives here and in ``graph``, nowhere else."""

import os

# Torch's OpenMP reads this once, when it is loaded. By default its threads spin while they wait for each other; on two cores
# shared with other processes that made a training step four times slower, and alone it gains nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
