"""Settings that hold for all tests."""

from hypothesis import HealthCheck, settings

# Busy machines make single examples slow, which says nothing about the code; derandomized, a run tells the same everywhere.
settings.register_profile("inkwright", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inkwright")
