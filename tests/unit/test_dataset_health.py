"""Findings of health reports: each is explained, counts survive being saved, groups are found across folders and labels."""

import re
from pathlib import Path

import pytest

from services.dataset.health.duplicates import Groups, Member
from services.dataset.health.label_facts import box_facts, is_too_long
from services.dataset.health.report import MEANINGS, RARE_BELOW, Code
from services.dataset.health.tally import Tally
from services.dataset.image import Image, ImageState, LabelBox, LabelState

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def image(key: str) -> Image:
    return Image(f"img_{key}", key, ImageState.USABLE, LabelState.LABELED, 200, 100, 1000, "etag")


def box(text: str, left: float = 0, top: float = 0, width: float = 100, height: float = 20) -> LabelBox:
    right, bottom = left + width, top + height
    return LabelBox("b1", ((left, top), (right, top), (right, bottom), (left, bottom)), text)


def test_every_finding_is_explained() -> None:
    assert set(MEANINGS) == set(Code)
    section = DOCS.read_text(encoding="utf-8").partition("## Health report\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == set(Code)


def test_counts_are_the_same_after_they_were_saved() -> None:
    tally = Tally()
    for number in range(RARE_BELOW):
        one = image(f"folder/{number}")
        tally.enter_folder(one.key)
        tally.add_image(one, None)
        tally.add_labels(one, [box("same Ω" if number else "onceΩ")])
    again = Tally.unpack(tally.pack())
    assert vars(again) == vars(tally)
    assert again.characters["Ω"] == RARE_BELOW
    assert set(again.rare) == {"o", "n", "c", "s", "a", "m", " "}
    assert again.rare["o"] == ["img_folder/0"]


@pytest.mark.parametrize(
    ("text", "width", "is_so"), [("", 1, False), ("a" * 7, 20, True), ("abcdefgh", 40, False), ("abcdefghijklm", 40, True)]
)
def test_a_text_that_no_reader_can_say_at_its_width_is_too_long(text: str, width: float, is_so: bool) -> None:
    assert is_too_long(box(text, width=width)) == is_so


def test_boxes_at_one_place_are_named_once_each() -> None:
    boxes = [box("a", 10, 10), box("b", 11, 10), box("c", 60, 60), box("d", 13, 13)]
    assert list(box_facts(image("one"), boxes)) == [Code.DUPLICATE_BOX]
    assert not box_facts(image("one"), [boxes[0], boxes[2], boxes[3]])


def test_groups_know_what_they_cross() -> None:
    members = [
        Member("a/1", "1", True, 0b0, 1),
        Member("a/2", "2", True, 0b1111, 2),
        Member("b/1", "3", False, 0b11111111, 3),
        Member("b/2", "4", True, 1 << 63, 4),
        Member("c", "5", True, 0xFFFF_0000_FFFF_0000, 5),
        Member("d", "6", True, 0xFFFF_0000_FFFF_0000, 5),
    ]
    groups = Groups()
    groups.add(members[:3])
    groups.add(members[3:])
    groups.find()
    found = groups.findings(0, members)
    by_code = {code: [one.image_id for one in found if one.code is code] for code in Code}
    # The hashes of the first four hang together step by step.
    assert by_code[Code.NEAR_DUPLICATE] == by_code[Code.CROSSES_FOLDERS] == by_code[Code.CROSSES_LABELS] == ["1", "2", "3", "4"]
    assert by_code[Code.EXACT_DUPLICATE] == ["5", "6"]
    assert groups.findings(4, members[4:]) == found[-2:]
