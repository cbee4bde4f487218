"""`inkctl dataset freeze`, `versions`, `diff` and `test-set`: what is frozen, what has changed, what is never learnt from."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from inkwright.dataset.v1 import dataset_pb2, version_pb2
from libs.client.commands.dataset import Name
from libs.client.output import Exit, as_dict, console, counted, fail, moment, print_fields, print_json, print_table, short
from libs.client.session import JsonOption, inkwright, refusals_exit

MAX_SHOWN = 200
WORDS = {
    "num_added": "added",
    "num_removed": "removed",
    "num_image_changed": "with another image",
    "num_labels_changed": "with other labels",
    "num_test_changed": "into or out of the test set",
    "num_unchanged": "unchanged",
}
MAX_KEYS = 500
"""Keys that one call takes."""

app = typer.Typer()
test_set = typer.Typer(help="Images that are never learnt from and that no model is chosen by.", no_args_is_help=True)
app.add_typer(test_set, name="test-set")

Version = Annotated[str, typer.Argument(help="DATASET/VERSION, or its whole name.")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys of images, as `inkctl label list` shows them.")]
Prefix = Annotated[str, typer.Option(help="All images whose keys begin so; `folder/` is a folder.")]
KeysFrom = Annotated[Path | None, typer.Option("--from", help="A file with one key a line.", exists=True, dir_okay=False)]


class Labels(StrEnum):
    """States of labels, in small letters."""

    UNLABELED = "unlabeled"
    LABELED = "labeled"
    SUBMITTED = "submitted"
    RETURNED = "returned"


@app.command()
@refusals_exit
def freeze(
    context: typer.Context,
    name: Name,
    further: Annotated[list[str] | None, typer.Option("--with", help="Another dataset whose images belong to the version too.")] = None,
    labels: Annotated[list[Labels] | None, typer.Option(help="Only images in this state of labels; may be given several times.")] = None,
    prefix: Prefix = "",
    pattern: Annotated[str, typer.Option(help="Only images whose keys match: `*` is any characters, `?` one.")] = "",
    min_boxes: Annotated[int, typer.Option(help="Only images with so many boxes or more.")] = 0,
    exclude: Annotated[list[str] | None, typer.Option(help="Not the image of this key; may be given several times.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze what a dataset holds now, or a part of it. A version never changes."""
    client = inkwright(context)
    excluded = []
    for key in exclude or ():
        found = [image for image in client.list_images(name, key=key) if image.key == key]
        if not found:
            fail(f"there is no image {key} in {name}", Exit.USAGE)
        excluded.append(found[0].name)
    wanted = dataset_pb2.VersionFilter(
        label_states=[dataset_pb2.Image.LabelState.Value(state.name) for state in labels or ()],
        key_prefix=prefix,
        key_glob=pattern,
        min_boxes=min_boxes,
        excluded_images=excluded,
    )
    show(client.versions.freeze(name, further=further or (), filter=wanted), as_json)


@app.command()
@refusals_exit
def versions(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """List the versions of a dataset, newest first."""
    found = inkwright(context).versions.list(name)
    if as_json:
        print_json(found)
        return
    rows = [
        (reference(one), moment(one.create_time), one.num_images, one.num_labeled, one.num_test, one.digest[:12], filter_words(one.filter))
        for one in found
    ]
    print_table(("VERSION", "FROZEN", "IMAGES", "LABELED", "TEST", "DIGEST", "FILTER"), rows, empty="nothing is frozen yet")


@app.command()
@refusals_exit
def diff(context: typer.Context, old: Version, new: Version, as_json: JsonOption = False) -> None:
    """Show what has changed from one version to another."""
    client = inkwright(context)
    changes: list[version_pb2.VersionDifference] = []
    counts = version_pb2.VersionDifferenceCounts()
    for page in client.versions.diff(old, new):
        changes += page.differences
        counts = page.counts
        if not as_json and len(changes) >= MAX_SHOWN:
            break
    if as_json:
        print_json({"counts": as_dict(counts), "differences": [as_dict(change) for change in changes]})
        return
    rows = [(change.key, ", ".join(kinds(change)), _boxes(change), _texts(change.text_changes)) for change in changes[:MAX_SHOWN]]
    print_table(("IMAGE", "WHAT", "BOXES", "TEXTS"), rows, empty="the versions hold the same")
    numbers = [(WORDS[field.name], number) for field, number in counts.ListFields()]
    console.print("\n" + ", ".join(f"{number} {what}" for what, number in numbers), markup=False)
    if len(changes) > MAX_SHOWN:
        console.print(f"The first {MAX_SHOWN} are shown; all of them: --json", markup=False)


@test_set.command("add")
@refusals_exit
def add(
    context: typer.Context, name: Name, keys: Keys = None, prefix: Prefix = "", keys_from: KeysFrom = None, as_json: JsonOption = False
) -> None:
    """Take images into the test set."""
    _change(context, name, _keys(keys, keys_from), prefix, is_test=True, as_json=as_json)


@test_set.command("remove")
@refusals_exit
def remove(
    context: typer.Context, name: Name, keys: Keys = None, prefix: Prefix = "", keys_from: KeysFrom = None, as_json: JsonOption = False
) -> None:
    """Take images out of the test set."""
    _change(context, name, _keys(keys, keys_from), prefix, is_test=False, as_json=as_json)


@test_set.command("list")
@refusals_exit
def list_all(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """List the test set."""
    found = list(inkwright(context).versions.test_images(name))
    if as_json:
        print_json(found)
    else:
        print_table(("IMAGE", "ID"), [(one.key, short(one.image)) for one in found], empty="the test set is empty")


def show(version: dataset_pb2.Version, as_json: bool) -> None:
    """Print one version."""
    if as_json:
        print_json(version)
        return
    parts = [(f"  {short(part.dataset)}", f"{part.num_images} ({part.num_labeled} labelled)") for part in version.parts]
    print_fields(
        [
            ("version", reference(version)),
            ("images", version.num_images),
            *parts,
            ("  labelled", version.num_labeled),
            ("  test set", version.num_test),
            *([("filter", filter_words(version.filter))] if version.HasField("filter") else []),
            ("digest", version.digest),
        ]
    )


def reference(version: dataset_pb2.Version) -> str:
    """``DATASET/VERSION``, as commands take it."""
    dataset, _, last = version.name.rpartition("/versions/")
    return f"{short(dataset)}/{last}"


def filter_words(filter: dataset_pb2.VersionFilter) -> str:
    """What a version took, in the words of ``freeze``."""
    states = (dataset_pb2.Image.LabelState.Name(state).lower() for state in filter.label_states)
    options = [f"--labels {state}" for state in states]
    options += [f"--prefix {filter.key_prefix}"] if filter.key_prefix else []
    options += [f"--pattern {filter.key_glob}"] if filter.key_glob else []
    options += [f"--min-boxes {filter.min_boxes}"] if filter.min_boxes else []
    options += [f"without {counted(len(filter.excluded_images), 'image')}"] if filter.excluded_images else []
    return " ".join(options)


def kinds(change: version_pb2.VersionDifference) -> list[str]:
    """How an image differs, in words."""
    kind = version_pb2.VersionDifference.Kind
    if change.kind != kind.CHANGED:
        return [kind.Name(change.kind).lower()]
    flags = (("image", change.image_changed), ("labels", change.labels_changed), ("test set", change.test_changed))
    return [what for what, is_so in flags if is_so]


def _boxes(change: version_pb2.VersionDifference) -> str:
    return f"{change.old_num_boxes} → {change.num_boxes}" if change.old_num_boxes != change.num_boxes else str(change.num_boxes)


def _texts(changes: Iterable[version_pb2.TextChange]) -> str:
    return ", ".join(f"{change.old_text} → {change.text}" for change in changes)


def _keys(keys: list[str] | None, keys_from: Path | None) -> list[str]:
    lines = keys_from.read_text(encoding="utf-8").splitlines() if keys_from else []
    return [*(keys or []), *(line for line in lines if line)]


def _change(context: typer.Context, name: str, keys: list[str], prefix: str, *, is_test: bool, as_json: bool) -> None:
    if bool(keys) == bool(prefix):
        fail("Give keys (or --from a file), or --prefix.", Exit.USAGE)
    client = inkwright(context)
    done = version_pb2.SetTestImagesResponse()
    for start in range(0, len(keys) or 1, MAX_KEYS):
        some = keys[start : start + MAX_KEYS]
        reply = client.versions.set_test_images(name, is_test=is_test, keys=some, prefix=prefix)
        done = version_pb2.SetTestImagesResponse(num_changed=done.num_changed + reply.num_changed, num_test=reply.num_test)
    if as_json:
        print_json(done)
    else:
        verb = "added" if is_test else "removed"
        console.print(f"{counted(done.num_changed, 'image')} {verb}; the test set has {done.num_test}", markup=False)
