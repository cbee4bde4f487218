"""Python reads this at its start when this folder is on PYTHONPATH: services of an installation under test get their points."""

import os
import re
import sys
from pathlib import Path

service = re.search(r"services\.(\w+)\.main", " ".join(sys.orig_argv))
if service is not None and "INKWRIGHT_CHAOS" in os.environ:
    from tests.chaos.points import install

    install(service[1], Path(os.environ["INKWRIGHT_CHAOS"]))
