"""What `inkctl` says, in words."""

import pytest

from inkwright.labeling.v1 import page_pb2
from libs.client.commands.label import _told
from libs.client.output import counted


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
