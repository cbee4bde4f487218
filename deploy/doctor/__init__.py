"""What keeps an installation from working on this machine, and what to do about it. It looks and changes nothing."""
