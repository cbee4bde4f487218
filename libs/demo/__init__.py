"""Demo data of our own: photographs of business cards and forms that no camera took, with their labels."""
