"""Training and held-out images share no font, name or number, by construction."""

import re
from dataclasses import fields

import numpy as np
import pytest

from libs.demo.difficulty import Difficulty
from libs.demo.fonts import FAMILIES, Part
from libs.demo.people import LONG_RUN, POOLS, Registry, WordPool


def test_no_family_and_no_font_file_is_in_both_parts() -> None:
    names = {part: {family.name for family in listed} for part, listed in FAMILIES.items()}
    packages = {part: {face.package for family in listed for face in (family.regular, family.bold)} for part, listed in FAMILIES.items()}
    assert not names["train"] & names["heldout"]
    assert not packages["train"] & packages["heldout"]


@pytest.mark.parametrize("field", [field.name for field in fields(WordPool)])
def test_no_word_is_in_both_pools(field: str) -> None:
    train, heldout = getattr(POOLS["train"], field), getattr(POOLS["heldout"], field)
    assert train
    assert heldout
    assert len(set(train)) == len(train)
    assert not set(train) & set(heldout)


def test_no_surname_and_no_firm_can_be_put_together_from_both_pools() -> None:
    assert not POOLS["train"].surnames & POOLS["heldout"].surnames
    assert not POOLS["train"].firms & POOLS["heldout"].firms
    assert min(len(pool.surnames) for pool in POOLS.values()) >= 200


def _texts(part: Part) -> list[str]:
    registry = Registry(part, np.random.default_rng(5))
    texts: list[str] = []
    for _ in range(300):
        person, firm = registry.person(), registry.firm()
        texts += [
            registry.phone(),
            registry.town(),
            registry.street(),
            registry.date(),
            registry.amount(),
            registry.code(),
            registry.serial(7),
        ]
        texts += [person, firm, registry.email(person, firm), registry.website(firm), registry.hours()]
    return texts


def test_every_long_number_has_the_parity_of_its_part() -> None:
    parities: dict[Part, set[int]] = {}
    for part in FAMILIES:
        runs = [run for text in _texts(part) for run in re.findall(r"\d+", text) if len(run) >= LONG_RUN]
        assert len(runs) > 1000
        parities[part] = {sum(map(int, run)) % 2 for run in runs}
    assert parities == {"train": {0}, "heldout": {1}}


def test_heldout_texts_use_no_character_that_training_lacks() -> None:
    train, heldout = ("".join(_texts(part)) for part in ("train", "heldout"))
    assert set(heldout + heldout.upper()) <= set(train + train.upper())


def test_addresses_are_plain_ascii() -> None:
    registry = Registry("train", np.random.default_rng(0))
    addresses = [registry.email("Désirée Sköltrøm", "Altovia") for _ in range(20)]
    assert all(re.fullmatch(r"[a-z._]+@altovia\.[a-z]+", address) for address in addresses)
    assert any("skoltrom" in address for address in addresses)


def test_every_range_of_the_difficulty_runs_upwards_and_every_share_is_a_share() -> None:
    difficulty = Difficulty()
    for field in fields(Difficulty):
        value = getattr(difficulty, field.name)
        if isinstance(value, tuple):
            low, high = value
            assert 0 <= low <= high, field.name
        else:
            assert 0 <= value <= 1, field.name
