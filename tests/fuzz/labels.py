"""``python -m tests.fuzz.labels -max_total_time=60``: atheris looks for label files that a reader does not end in rows on.

It starts from a sound file of each format; options are those of libFuzzer. A crash is kept as ``crash-…`` in ``build/fuzz-labels``.
"""

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["libs.ocrkit.labels"]):
    from tests.label_damage import LABEL_FILES, read_damaged, sample

FOUND = Path("build/fuzz-labels")
KEYS = sorted(LABEL_FILES)


def one_input(data: bytes) -> None:
    """The first byte chooses the format, the rest is the file."""
    if data:
        read_damaged(KEYS[data[0] % len(KEYS)], data[1:])


def main() -> None:
    """Write the sound files, then fuzz until the options say it is enough."""
    corpus = FOUND / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, key in enumerate(KEYS):
        (corpus / key).write_bytes(bytes([number]) + sample(key))
    limits = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={FOUND}{os.sep}"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
