"""What benchmarks write down: no path of this machine, and Tesseract's words as lines."""

from pathlib import Path

from tests.bench.peers.read_tesseract import lines_of
from tests.bench.report import CHECKOUT, Table, command_line, name_of_data, shown
from tests.bench.turns import Alone

COLUMNS = ["level", "page_num", "block_num", "par_num", "line_num", "word_num", "left", "top", "width", "height", "conf", "text"]


def test_a_report_names_no_folder_of_this_machine() -> None:
    assert shown(Path("/home/someone/packs/receipts/dev")) == "$DATA/receipts/dev"
    assert shown(Path("/pages")) == "$DATA/pages"
    assert shown(CHECKOUT / "build" / "bench" / "a.inkbundle") == "build/bench/a.inkbundle"
    command = command_line("score", TRAIN=Path("/data/a/train"), DEV=Path("/data/a/dev"), BUNDLE=None, LOOSE=0, OUT="second")
    assert command == "make score TRAIN=$DATA/a/train DEV=$DATA/a/dev OUT=second"


def test_a_report_is_called_after_its_data() -> None:
    assert name_of_data(Path("/data/receipts/dev")) == "receipts"
    assert name_of_data(Path("/data/receipts")) == "receipts"


def test_a_cell_without_a_figure_stays_empty() -> None:
    table = Table("Speed", ("reader", "pages/s"), [("ours", "1.50"), ("theirs", None)])
    assert table.markdown() == "## Speed\n\n| reader | pages/s |\n| --- | --- |\n| ours | 1.50 |\n| theirs |  |"


def test_percentiles_of_one_and_of_many_pages() -> None:
    assert Alone(seconds=[0.5]).percentile_seconds(95) == 0.5
    assert Alone(seconds=[0.1] * 99 + [9.0]).percentile_seconds(50) == 0.1
    assert 0.9 < Alone(seconds=[second / 100 for second in range(101)]).percentile_seconds(95) < 1.0


def test_words_of_one_line_become_one_line() -> None:
    rows = [
        "1 1 0 0 0 0 0 0 500 500 -1 ",
        "5 1 1 1 1 1 10 20 30 8 90 TOTAL",
        "5 1 1 1 1 2 50 18 20 12 70 RM",
        '5 1 1 1 1 3 80 20 5 8 50 "',
        "5 1 1 1 2 1 10 40 30 8 95  ",
        "5 1 2 1 1 1 10 60 40 9 60 9.50",
    ]
    tsv = "\n".join("\t".join(row) for row in [COLUMNS, *[row.split(" ", 11) for row in rows]])
    assert lines_of(tsv) == [
        {"label": 'TOTAL RM "', "conf": 0.7, "pos": [[10, 18], [85, 18], [85, 30], [10, 30]]},
        {"label": "9.50", "conf": 0.6, "pos": [[10, 60], [50, 60], [50, 69], [10, 69]]},
    ]
