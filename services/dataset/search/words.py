"""What of a label file's texts stands in the search index: each character and each pair of neighbours, in one spelling. No I/O.

Pairs, not words: most writing systems that are read here have no spaces, and one or two characters can be looked for as well.
"""

import itertools
import unicodedata
from collections.abc import Iterable, Sequence


def folded(text: str) -> str:
    """One spelling of what people mean by the same: case, width and runs of spaces do not matter."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold().split())


def words_of(texts: Iterable[str]) -> str:
    """What the index keeps of an image's texts, separated by spaces; nothing where there is no text.

    Letters and digits only, so that both databases keep them as they are. A change here asks for a migration that builds the index anew:
    what is taken out must be what was put in.
    """
    # Dictionaries as sets that keep an order, so that the same texts give the same words in every process.
    characters: dict[str, None] = {}
    pairs: dict[tuple[str, str], None] = {}
    for text in texts:
        # As they stand too: a search for one code point tells wide from narrow letters.
        characters |= dict.fromkeys(text)
        line = folded(text)
        characters |= dict.fromkeys(line)
        pairs |= dict.fromkeys(itertools.pairwise(line))
    hexed = {one: character_word(one) for one in characters}
    return " ".join((*hexed.values(), *[f"{hexed[first]}z{hexed[second]}" for first, second in pairs]))


def entry_of(dataset_uid: str, words: str) -> str:
    """What the index keeps of an image with these words."""
    return f"{dataset_word(dataset_uid)} {words}"


def wanted_words(text: str) -> Sequence[str]:
    """What an image with this text has in the index; it may have that without the text."""
    line = [f"{ord(character):x}" for character in folded(text)]
    return ["z".join(pair) for pair in itertools.pairwise(line)] or line


def dataset_word(uid: str) -> str:
    """Stands with every image of a dataset."""
    return "y" + uid.encode().hex()


def character_word(character: str) -> str:
    """What an image has in the index that holds exactly this code point."""
    return f"{ord(character):x}"
