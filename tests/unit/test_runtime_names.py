import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, IMAGE, check_id, new_id


@pytest.mark.parametrize("value", ["a", "7", "receipts-2024_b", "x" * 30])
def test_good_ids_pass(value: str) -> None:
    assert check_id(value, "dataset") == value


@pytest.mark.parametrize("value", ["", "x" * 31, "-a", "_a", "a b", "a/b", "é", "a\n", "a.b"])
def test_bad_ids_are_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_id(value, "dataset")
    assert caught.value.reason == "INVALID_NAME"
    assert caught.value.metadata == {"what": "dataset", "value": value}


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}", fullmatch=True), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}", fullmatch=True))
def test_formatting_and_parsing_are_inverse(dataset: str, image: str) -> None:
    name = IMAGE.format(project="default", dataset=dataset, image=image)
    assert IMAGE.parse(name) == {"project": "default", "dataset": dataset, "image": image}


@pytest.mark.parametrize(
    "name",
    ["", "projects/default", "projects/default/datasets/", "projects/default/datasets/a/images/b", "projects//datasets/a", "x" * 500],
)
def test_names_of_another_form_are_refused(name: str) -> None:
    assert not DATASET.matches(name)
    with pytest.raises(InvalidInput) as caught:
        DATASET.parse(name)
    assert caught.value.metadata["form"] == "projects/{project}/datasets/{dataset}"


def test_a_name_is_not_built_from_an_id_with_a_slash() -> None:
    with pytest.raises(InvalidInput):
        DATASET.format(project="default", dataset="a/images/b")


def test_new_ids_fit_the_rule_and_differ() -> None:
    ids = {new_id("im") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(check_id(one, "image") and one.startswith("im-") for one in ids)


def test_later_ids_sort_behind_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1_700_000_000_000_000_000, 1_700_000_000_001_000_000, 1_900_000_000_000_000_000])
    monkeypatch.setattr("libs.runtime.names.time.time_ns", lambda: next(moments))
    ids = [new_id("t") for _ in range(3)]
    assert ids == sorted(ids)
