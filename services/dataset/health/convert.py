"""Between surveys and the protos; the content of a report is written here, and stored as it was written."""

import hashlib
from collections.abc import Iterable

from inkwright.dataset.v1 import health_pb2
from libs.ocrkit.charset import BASE_ALPHABET
from libs.runtime.times import to_timestamp
from services.dataset.convert import counts_to_proto
from services.dataset.domain import Dataset
from services.dataset.health.normalization import FileResult, LineChange, Normalization
from services.dataset.health.report import MEANINGS, RARE_BELOW, Code, Found, Report, Survey, Weight
from services.dataset.health.tally import BINS, Tally

MOST_CHARACTERS = 2_000
MOST_SHOWN = 500
_KNOWN = frozenset(BASE_ALPHABET)
_WORST_FIRST = sorted(Code, key=lambda code: list(Weight).index(MEANINGS[code][0]))


def content_of(dataset: Dataset, tally: Tally) -> health_pb2.HealthContent:
    """What a survey counted, as the report says it."""
    frequent = _counts(tally.characters.items())
    rare = [(one, count) for one, count in tally.characters.items() if count < RARE_BELOW]
    unknown = [(one, count) for one, count in tally.characters.items() if one not in _KNOWN]
    return health_pb2.HealthContent(
        counts=counts_to_proto(dataset.counts),
        findings=[_finding(dataset, code, tally) for code in _WORST_FIRST if tally.found[code]],
        histograms=[health_pb2.Histogram(name=name, lower_bounds=bounds, counts=tally.histograms[name]) for name, bounds in BINS.items()],
        characters=frequent[:MOST_CHARACTERS],
        num_characters=len(frequent),
        rare_characters=sorted(_counts(rare), key=lambda one: (one.count, one.character))[:MOST_SHOWN],
        unknown_characters=_counts(unknown)[:MOST_SHOWN],
        look_alike_lines=tally.look_alikes,
        num_lines=tally.num_lines,
        num_folders=tally.num_folders,
    )


def content_to_bytes(content: health_pb2.HealthContent) -> tuple[bytes, str]:
    """To be stored, and the sha256 (hex) of it."""
    data = content.SerializeToString(deterministic=True)
    return data, hashlib.sha256(data).hexdigest()


def report_to_proto(dataset: Dataset, survey: Survey | None, report: Report | None) -> health_pb2.HealthReport:
    """The resource as callers see it."""
    answer = health_pb2.HealthReport(
        name=f"{dataset.name}/health",
        state=health_pb2.HealthReport.SURVEYING,
        create_time=to_timestamp(report.create_time) if report else None,
    )
    if report is not None:
        answer.sync_number, answer.digest = report.sync_number, report.digest
        answer.content.ParseFromString(report.content)
    if survey is None:
        return answer
    if survey.error_message:
        answer.state, answer.error_message = health_pb2.HealthReport.FAILED, survey.error_message
    elif not survey.is_surveying:
        answer.state = health_pb2.HealthReport.READY
    else:
        progress = health_pb2.SurveyProgress(phase=survey.phase, num_seen=survey.num_seen, num_images=survey.num_images)
        answer.progress.CopyFrom(progress)
    return answer


def found_to_proto(dataset: Dataset, found: Found) -> health_pb2.FindingImage:
    """One image of a finding."""
    return health_pb2.FindingImage(image=dataset.image_name(found.image_id), key=found.key, detail=found.detail)


def normalization_to_proto(dataset: Dataset, work: Normalization) -> health_pb2.Normalization:
    """The resource as callers see it."""
    states = health_pb2.Normalization
    state = states.RUNNING if work.wanted else states.FAILED if work.error_message else states.SUCCEEDED
    return health_pb2.Normalization(
        name=f"{dataset.name}/normalization",
        state=state,
        error_message=work.error_message,
        num_files=work.num_files,
        num_changed=work.num_changed,
        num_skipped=work.num_skipped,
        num_failed=work.num_failed,
        create_time=to_timestamp(work.create_time),
    )


def line_to_proto(dataset: Dataset, line: LineChange) -> health_pb2.NormalizedLine:
    """One line before and after."""
    return health_pb2.NormalizedLine(
        image=dataset.image_name(line.image_id), key=line.key, box_id=line.box_id, before=line.before, after=line.after, kinds=line.kinds
    )


def file_to_proto(dataset: Dataset, file: FileResult) -> health_pb2.NormalizedFile:
    """What became of a label file."""
    return health_pb2.NormalizedFile(
        image=dataset.image_name(file.image_id),
        key=file.key,
        result=health_pb2.NormalizedFile.Result.Value(file.result),
        num_lines=file.num_lines,
        message=file.message,
    )


def _finding(dataset: Dataset, code: Code, tally: Tally) -> health_pb2.HealthFinding:
    weight, fix = MEANINGS[code]
    examples = [Found(code, image_id, key, detail) for key, image_id, detail in tally.examples.get(code, [])]
    return health_pb2.HealthFinding(
        name=f"{dataset.name}/health/findings/{code}",
        code=code,
        severity=health_pb2.HealthFinding.Severity.Value(weight),
        num_images=tally.found[code],
        fix=fix,
        examples=[found_to_proto(dataset, one) for one in examples],
    )


def _counts(characters: Iterable[tuple[str, int]]) -> list[health_pb2.CharacterCount]:
    """The most frequent first, then by code point."""
    ordered = sorted(characters, key=lambda one: (-one[1], one[0]))
    return [health_pb2.CharacterCount(character=character, count=count) for character, count in ordered]
