"""Path templates: what they match, in which order they are tried, how they are documented."""

import pytest

from gateway.transcode.templates import compile_template


def test_a_wildcard_takes_one_segment_and_no_verb() -> None:
    plain = compile_template("/v1/{name=projects/*/datasets/*}")
    verb = compile_template("/v1/{name=projects/*/datasets/*}:sync")
    assert plain.match("/v1/projects/p/datasets/d") == {"name": "projects/p/datasets/d"}
    assert plain.match("/v1/projects/p/datasets/d:sync") is None
    assert verb.match("/v1/projects/p/datasets/d:sync") == {"name": "projects/p/datasets/d"}
    assert verb.match("/v1/projects/p/datasets/d") is None
    assert plain.match("/v1/projects/p/datasets/d/") is None
    assert plain.match("/v1/projects/p/datasets/") is None


def test_two_wildcards_take_the_rest() -> None:
    assert compile_template("/files/{path=**}").match("/files/a/b/c") == {"path": "a/b/c"}


def test_an_encoded_slash_is_no_separator_and_is_decoded_afterwards() -> None:
    template = compile_template("/v1/{parent=projects/*}/images/{image}")
    assert template.match("/v1/projects/p/images/a%2Fb%20c") == {"parent": "projects/p", "image": "a/b c"}
    assert template.match("/v1/projects%2Fp/images/a") is None


def test_a_dot_in_a_literal_is_a_dot() -> None:
    assert compile_template("/openapi.json").match("/openapiXjson") is None


@pytest.mark.parametrize("text", ["/v1/{name", "/v1/{name=projects/{id}}", "/v1/}x"])
def test_broken_braces_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        compile_template(text)


def test_longer_and_more_literal_templates_come_first() -> None:
    texts = ["/v1/{name=projects/*}", "/v1/{name=projects/*/models/*}", "/v1/{name=projects/*}/models"]
    ranked = sorted(map(compile_template, texts), key=lambda template: template.rank)
    assert [template.text for template in ranked] == [texts[1], texts[2], texts[0]]


def test_the_documented_form_names_each_wildcard_after_its_collection() -> None:
    template = compile_template("/v1/{name=projects/*/datasets/*/images/*}:bytes")
    assert template.documented() == ("/v1/projects/{project}/datasets/{dataset}/images/{image}:bytes", ("project", "dataset", "image"))
