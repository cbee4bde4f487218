"""Names of images in requests."""

from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, IMAGE


def dataset_name(ids: dict[str, str]) -> str:
    """Of the dataset that the parts of an image's name name."""
    return DATASET.format(project=ids["project"], dataset=ids["dataset"])


def image_id_in(parent: str, name: str) -> str:
    """The id of an image of the dataset ``parent``.

    Raises:
        InvalidName: it is no name of an image.
        InvalidInput: it is of another dataset.
    """
    ids = IMAGE.parse(name)
    if dataset_name(ids) != parent:
        raise InvalidInput(f"{name} is no image of {parent}.", name=name, parent=parent)
    return ids["image"]
