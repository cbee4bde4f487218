"""Back up an installation while it runs, into one file; restore that file into an empty home."""
