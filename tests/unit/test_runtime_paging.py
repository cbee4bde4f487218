from typing import Any

import pytest

from inkwright.dataset.v1.dataset_service_pb2 import ListDatasetsRequest
from libs.runtime.errors import InvalidInput
from libs.runtime.paging import page_cursor, page_size, page_token


def request(**fields: Any) -> ListDatasetsRequest:
    return ListDatasetsRequest(**fields)


def test_sizes_have_a_default_and_a_maximum() -> None:
    assert page_size(request()) == 100
    assert page_size(request(page_size=7)) == 7
    assert page_size(request(page_size=5000)) == 1000


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidInput):
        page_size(request(page_size=-1))


def test_a_token_leads_back_to_its_cursor() -> None:
    token = page_token(request(parent="a"), ("key/ä.jpg", 17))
    assert page_cursor(request(parent="a", page_token=token)) == ("key/ä.jpg", 17)
    assert page_cursor(request(parent="a", page_token=token, page_size=3)) == ("key/ä.jpg", 17)


def test_without_a_token_the_cursor_is_empty_and_the_last_page_has_no_token() -> None:
    assert page_cursor(request(parent="a")) == ()
    assert page_token(request(parent="a"), None) == ""


@pytest.mark.parametrize("token", ["x", "!!!!", "bnVsbA", "e30", page_token(request(parent="b"), ("k",))])
def test_foreign_tokens_are_refused_by_name(token: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_cursor(request(parent="a", page_token=token))
    assert caught.value.reason == "INVALID_PAGE_TOKEN"
