"""`inkctl dataset report` and `inkctl dataset normalize`: how healthy a dataset is, and one remedy."""

from collections.abc import Iterable
from typing import Annotated

import typer

from inkwright.dataset.v1 import health_pb2
from libs.client.commands.dataset import Name, Wait
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, as_dict, console, counted, fail, moment, print_fields, print_json, print_table, progress_bar, short
from libs.client.session import JsonOption, inkwright, refusals_exit

SURVEYING, FAILED = health_pb2.HealthReport.SURVEYING, health_pb2.HealthReport.FAILED
_SHOWN_CHARACTERS = 40
_BAR = 30


@refusals_exit
def report(
    context: typer.Context,
    name: Name,
    finding: Annotated[str, typer.Option(metavar="CODE", help="List every image of one finding instead.")] = "",
    refresh: Annotated[bool, typer.Option("--refresh", help="Survey the dataset again first.")] = False,
    wait: Wait = True,
    as_json: JsonOption = False,
) -> None:
    """Show what is wrong with images and labels, and what to do. A survey runs after every sync."""
    client = inkwright(context)
    if finding:
        _show_images(client, name, finding.upper(), as_json)
        return
    if refresh:
        client.health.refresh(name)
    found = _follow_survey(client, name) if wait else client.health.report(name)
    if as_json:
        print_json(found)
    else:
        _show_report(found, name)


@refusals_exit
def normalize(
    context: typer.Context,
    name: Name,
    apply: Annotated[bool, typer.Option("--apply", help="Write the label files; without it, show what would be written.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace code points that look like others, in all label files. Each replaced file is kept."""
    client = inkwright(context)
    if not apply:
        lines = client.health.preview_normalization(name)
        if as_json:
            print_json([as_dict(line) for line in lines])
            return
        print_table(
            ("IMAGE", "BOX", "BEFORE", "AFTER", "WHY"),
            ((line.key, line.box_id, _visible(line.before), line.after, ", ".join(line.kinds)) for line in lines),
            empty="no label holds look-alikes",
        )
        return
    client.health.normalize(name)
    with progress_bar() as bar:
        task = bar.add_task(f"normalizing {short(name)}", total=None)
        ended = health_pb2.Normalization.RUNNING
        for work in client.watch(lambda: client.health.normalization(name), until=lambda work: work.state != ended):
            bar.update(task, completed=work.num_changed + work.num_skipped + work.num_failed, total=work.num_files)
    files = list(client.health.normalized_files(name))
    if as_json:
        print_json(as_dict(work) | {"files": [as_dict(file) for file in files]})
    else:
        result = health_pb2.NormalizedFile.Result
        print_table(
            ("IMAGE", "RESULT", "LINES", "WHY"),
            ((file.key, result.Name(file.result), file.num_lines, file.message) for file in files),
            empty="no label holds look-alikes",
        )
    if work.state == health_pb2.Normalization.FAILED:
        fail(f"normalizing {short(name)} stopped: {work.error_message}", Exit.ENDED_OTHERWISE)


def _follow_survey(client: Inkwright, name: str) -> health_pb2.HealthReport:
    with progress_bar() as bar:
        line = bar.add_task(f"surveying {short(name)}", total=None)
        for found in client.watch(lambda: client.health.report(name), until=lambda found: found.state != SURVEYING):
            bar.update(line, completed=found.progress.num_seen, total=found.progress.num_images or None)
    if found.state == FAILED:
        fail(f"surveying {short(name)} failed: {found.error_message}", Exit.ENDED_OTHERWISE)
    return found


def _show_images(client: Inkwright, name: str, code: str, as_json: bool) -> None:
    images = client.health.finding_images(name, code)
    if as_json:
        print_json([as_dict(image) for image in images])
    else:
        print_table(("IMAGE", "WHAT"), ((image.key, image.detail) for image in images), empty="no image has this")


def _show_report(found: health_pb2.HealthReport, name: str) -> None:
    if not found.digest:
        console.print("no survey has finished yet")
        return
    content = found.content
    counts = content.counts
    print_fields(
        [
            ("surveyed", f"{moment(found.create_time)}, after sync {found.sync_number}"),
            ("images", f"{counts.num_labeled} labelled, {counts.num_unlabeled} unlabelled, {counts.num_rejected} rejected"),
            ("lines", content.num_lines),
            ("characters", f"{content.num_characters} different: {_characters(content.characters)}"),
            ("rare", _characters(content.rare_characters)),
            ("not in any base", _characters(content.unknown_characters)),
        ]
    )
    console.print()
    severity = health_pb2.HealthFinding.Severity
    print_table(
        ("FINDING", "SEVERITY", "IMAGES", "WHAT TO DO"),
        ((one.code, severity.Name(one.severity), one.num_images, one.fix) for one in content.findings),
        empty="nothing was found",
    )
    for histogram in content.histograms:
        _show_histogram(histogram)
    if content.findings:
        console.print(f"\n{counted(len(content.findings), 'finding')}; images of one: inkctl dataset report {short(name)} --finding CODE")


def _show_histogram(histogram: health_pb2.Histogram) -> None:
    most = max(histogram.counts, default=0)
    if not most:
        return
    console.print(f"\n{histogram.name}")
    for bound, count in zip(histogram.lower_bounds, histogram.counts, strict=True):
        if count:
            console.print(f"  from {bound:>8g}  {count:>9}  {'#' * max(1, round(_BAR * count / most))}", markup=False, highlight=False)


def _characters(characters: Iterable[health_pb2.CharacterCount]) -> str:
    shown = list(characters)
    more = f" and {len(shown) - _SHOWN_CHARACTERS} more" if len(shown) > _SHOWN_CHARACTERS else ""
    return " ".join(f"{_visible(one.character)}×{one.count}" for one in shown[:_SHOWN_CHARACTERS]) + more


def _visible(text: str) -> str:
    """What a terminal would not show, by its number."""
    return "".join(one if one.isprintable() else f"<{ord(one):04X}>" for one in text)
