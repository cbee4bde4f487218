"""Settings that hold for all tests."""

import logging

import structlog
from hypothesis import HealthCheck, settings

# Busy machines make single examples slow, which says nothing about the code; derandomized, a run tells the same everywhere.
settings.register_profile("inkwright", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inkwright")

# A test that fails prints what was logged: hundreds of calls a second would bury the one line that says why.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
