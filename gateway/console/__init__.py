"""What the console needs and annotations cannot say: image bytes, bundle files, live events."""
