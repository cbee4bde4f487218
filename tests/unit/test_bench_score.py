"""The scorer of the benchmarks, by cases counted by hand."""

import pytest

from tests.bench.score import Counts, PlacedText, count_page, fold_loosely, labelled, pair


def box(left: float, width: float = 100, top: float = 0, height: float = 20) -> list[list[float]]:
    return [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]


def test_a_page_counted_by_hand() -> None:
    truth = [PlacedText("TOTAL", box(0)), PlacedText("RM 1.00", box(200)), PlacedText("KOPI", box(400))]
    read = [
        PlacedText("TOTAL", box(5)),
        PlacedText("rm1.00", box(200)),
        PlacedText("TEH", box(900)),
    ]
    counts = count_page(truth, read)
    assert counts == Counts(
        truth=3, read=3, found=2, exact=1, folded=2, edits=3 + 4 + 3, characters=16, folded_edits=4 + 3, folded_characters=15
    )
    assert counts.measures() == {
        "det_p": 0.6667,
        "det_r": 0.6667,
        "det_h": 0.6667,
        "e2e_exact": 0.3333,
        "e2e_folded": 0.6667,
        "e2e_r_exact": 0.3333,
        "e2e_r_folded": 0.6667,
        "cer": 0.625,
        "fcer": 0.4667,
    }


def test_pages_add_up_and_nothing_scores_nothing() -> None:
    page = count_page([PlacedText("AB", box(0))], [PlacedText("AB", box(0))])
    unread = count_page([PlacedText("CDE", box(0))], [])
    both = page + unread
    assert (both.truth, both.read, both.found, both.edits, both.characters) == (2, 1, 1, 3, 5)
    assert both.measures()["e2e_exact"] == pytest.approx(2 / 3, abs=1e-4)
    assert set(Counts().measures().values()) == {0.0}
    assert count_page([], [PlacedText("AB", box(0))]).measures()["cer"] == 2


def test_the_best_overlap_wins_and_each_line_counts_once() -> None:
    assert pair([box(0), box(30)], [box(28)]) == [(1, 0)]
    assert sorted(pair([box(0), box(30)], [box(28), box(2), box(1)])) == [(0, 2), (1, 0)]
    assert pair([box(0)], [box(40)]) == []
    assert pair([], [box(0)]) == []


def test_a_tie_goes_to_the_later_line_and_one_half_is_too_little() -> None:
    assert pair([box(0), box(0)], [box(0)]) == [(1, 0)]
    assert pair([box(0)], [box(10), box(-10)]) == [(0, 1)]
    assert pair([box(0)], [box(0, width=200)]) == []
    assert pair([box(0)], [box(0, width=199)]) == [(0, 0)]


def test_crossing_edges_count_as_the_shape_they_enclose() -> None:
    bow_tie = [[0, 0], [100, 20], [100, 0], [0, 20]]
    triangles = [[0, 0], [50, 10], [50, 10], [0, 20]]
    assert pair([bow_tie], [box(0)]) == []
    assert pair([bow_tie], [triangles]) == []
    assert pair([bow_tie], [bow_tie]) == [(0, 0)]
    assert pair([[[0, 0], [9, 0], [5, 0], [2, 0]]], [box(0)]) == []


def test_loosely_folded_plates_and_markers_are_the_same() -> None:
    assert fold_loosely("XO-1l i2") == "x01112"
    truth, read = PlacedText("AB-O1", box(0)), PlacedText("ab0i", box(0))
    assert count_page([truth], [read]).folded == 0
    loosely = count_page([truth], [read], fold_loosely)
    assert (loosely.folded, loosely.exact, loosely.folded_edits, loosely.folded_characters) == (1, 0, 0, 4)


def test_label_files_are_taken_as_they_stand() -> None:
    voc = b"""<annotation><size><width>10</width></size>
      <object><name> A &amp; B </name><difficult>1</difficult>
        <bndbox><xmin>-5</xmin><ymin>1.5</ymin><xmax>4000</xmax><ymax>9</ymax></bndbox></object>
      <object><name>C</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
        <polygon><x1>1</x1><y1>2</y1><x2>3</x2><y2>4</y2><x3>5</x3><y3>6</y3><x4>7</x4><y4>8</y4></polygon></object>
      <object><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></object>
    </annotation>"""
    first, second, third = labelled(voc)
    assert first == PlacedText(" A & B ", [[-5, 1.5], [4000, 1.5], [4000, 9], [-5, 9]])
    assert second == PlacedText("C", [[1, 2], [3, 4], [5, 6], [7, 8]])
    assert third.text == ""


def test_an_object_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="neither polygon nor bndbox"):
        labelled(b"<annotation><object><name>A</name></object></annotation>")
