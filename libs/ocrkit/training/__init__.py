"""Training a recognizer on a user's lines. Torch lives here and in ``graph``, nowhere else."""
