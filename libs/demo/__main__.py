"""`python -m libs.demo`: what `make demo` runs."""

import sys

from libs.client.rest import ApiError, Unreachable
from libs.demo.flow import run

if __name__ == "__main__":
    try:
        run()
    except (ApiError, Unreachable, RuntimeError) as error:
        sys.exit(f"demo stopped: {error}")
