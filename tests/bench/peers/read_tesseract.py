"""Tesseract with its defaults, English: its program is started for each page, words of one line make one line."""

import csv
import os
import subprocess
from collections.abc import Mapping, Sequence

from tests.bench.peers.answering import answer, num_threads_wanted

_WORD_LEVEL = "5"


def lines_of(tsv: str) -> list[dict[str, object]]:
    """Lines of Tesseract's table of words: text joined by spaces, the box around all words, their mean confidence."""
    words: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in csv.DictReader(tsv.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] == _WORD_LEVEL and row["text"].strip():
            words.setdefault(tuple(row[part] for part in ("page_num", "block_num", "par_num", "line_num")), []).append(row)
    return [_line(line) for line in words.values()]


def _line(words: Sequence[Mapping[str, str]]) -> dict[str, object]:
    left, top = (min(int(word[side]) for word in words) for side in ("left", "top"))
    right = max(int(word["left"]) + int(word["width"]) for word in words)
    bottom = max(int(word["top"]) + int(word["height"]) for word in words)
    return {
        "label": " ".join(word["text"] for word in words),
        "conf": sum(float(word["conf"]) for word in words) / len(words) / 100,
        "pos": [[left, top], [right, top], [right, bottom], [left, bottom]],
    }


def main() -> None:
    """Answer, one started program a page."""
    num_threads = num_threads_wanted()
    environment = os.environ | ({"OMP_THREAD_LIMIT": str(num_threads)} if num_threads else {})

    def run(*arguments: str) -> str:
        done = subprocess.run(["tesseract", *arguments], env=environment, capture_output=True, check=True)
        return done.stdout.decode("utf-8", errors="replace")

    version = run("--version").split()[1]
    answer(lambda path: lines_of(run(path, "-", "-l", "eng", "tsv")), {"tesseract": version})


if __name__ == "__main__":
    main()
