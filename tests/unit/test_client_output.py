"""What `inkctl` says, in words."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from inkwright.labeling.v1 import page_pb2
from libs.client.cli import app
from libs.client.commands.label import _told
from libs.client.output import Exit, counted, print_table


@pytest.mark.parametrize(("number", "said"), [(0, "0 boxes"), (1, "1 box"), (2, "2 boxes"), (10556, "10,556 boxes")])
def test_counts_agree_with_their_noun(number: int, said: str) -> None:
    assert counted(number, "box", "boxes") == said


def test_edits_are_told_by_kind() -> None:
    operations = [
        page_pb2.Operation(create_box=page_pb2.CreateBox()),
        page_pb2.Operation(delete_box=page_pb2.DeleteBox(box_id="a")),
        page_pb2.Operation(delete_box=page_pb2.DeleteBox(box_id="b")),
        page_pb2.Operation(reorder_boxes=page_pb2.ReorderBoxes(box_ids=["c"])),
    ]
    assert _told(operations) == "1 created, 2 deleted, 1 reordered"
    assert _told([]) == "nothing to change"


def test_a_table_away_from_a_terminal_keeps_its_names_whole(capsys: pytest.CaptureFixture[str]) -> None:
    name = "projects/default/datasets/cards/pages/" + "p" * 200
    print_table(("TO",), [(name,)])
    assert name in capsys.readouterr().out


def test_an_empty_table_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("IMAGE",), [], empty="nothing was found on any image")
    assert capsys.readouterr().out == "nothing was found on any image\n"


@pytest.mark.parametrize("labels", [b"\xab\xcd\x00", b"not json"])
def test_labels_that_are_no_json_are_refused_in_one_line(tmp_path: Path, labels: bytes) -> None:
    file = tmp_path / "page.json"
    file.write_bytes(labels)
    result = CliRunner().invoke(app, ["label", "save", "cards", "a", "--file", str(file)])
    assert result.exit_code == Exit.USAGE
    assert result.stderr.startswith(f"error: {file}: Invalid JSON")
    assert result.stderr.count("\n") == 1
