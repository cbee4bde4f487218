"""What people ask of the index of a large folder, and how long the answers take."""

import time
from collections.abc import Awaitable, Callable, Sequence

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, health_pb2, search_pb2
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from tests.bench.file_tree import Tree
from tests.integration.dataset_process import DatasetProcess

ANSWERS = 40
"""Of each kind of question."""
SURVEY_SECONDS = 7200.0

Question = Callable[[], Awaitable[object]]
Taken = dict[str, list[float]]
"""Milliseconds of each answer, by question."""


def listings(service: DatasetProcess, name: str, tree: Tree) -> dict[str, Question]:
    """Pages of images, by what they are and by their keys."""

    def images(**wanted: object) -> Question:
        request = dataset_service_pb2.ListImagesRequest(parent=name, **wanted)  # type: ignore[arg-type]
        return lambda: call(service.stub.ListImages, request)

    last = tree.folders()[-1].relative_to(tree.root)
    return {
        "dataset with its counts": lambda: service.get(name),
        "first page of images": images(),
        "page of 1,000 images": images(page_size=1000),
        "images that are labelled": images(label_state=dataset_pb2.Image.LABELED),
        "images that are unlabelled (none)": images(label_state=dataset_pb2.Image.UNLABELED),
        "images that are rejected (none)": images(state=dataset_pb2.Image.REJECTED),
        "search by key": images(key=f"{last}/page00000.jpg"),
        "search by file name (one in each folder)": images(key="page00007"),
        "search for what is not there": images(key="nothing"),
    }


def searches(service: DatasetProcess, name: str, tree: Tree) -> dict[str, Question]:
    """Texts of labels, and what is known of images."""

    def images(**wanted: object) -> Question:
        request = search_pb2.SearchImagesRequest(parent=name, **wanted)  # type: ignore[arg-type]
        return lambda: call(service.stub.SearchImages, request)

    def grep(regex: str) -> Question:
        # A call goes on until it has found enough or its time is over: that it stops in time is what is measured.
        request = search_pb2.GrepLabelsRequest(parent=name, regex=regex, deadline_seconds=0.1)
        return lambda: call(service.stub.GrepLabels, request)

    last = str(tree.folders()[-1].relative_to(tree.root))
    return {
        "a text that all images hold": images(text="line 2"),
        "a text that one image in hundreds holds": images(text="of 17"),
        "the same, below the last folder": images(text="of 17", folder=last),
        "a text that none holds, of pairs that all have": images(text="f o"),
        "a character that none holds": images(character="Ω"),
        "images below the last folder": images(folder=last),
        "images with a finding (none)": images(finding="BOX_OUTSIDE"),
        "regular expression that all images fit": grep(r"of \d+$"),
        "regular expression that none fits, for 0.1 s": grep("Ω"),
    }


def reports(service: DatasetProcess, name: str, codes: Sequence[str]) -> dict[str, Question]:
    """The health report, and the images of its findings."""

    def images(code: str, page_size: int) -> Question:
        request = health_pb2.ListFindingImagesRequest(parent=f"{name}/health/findings/{code}", page_size=page_size)
        return lambda: call(service.stub.ListFindingImages, request)

    asked: dict[str, Question] = {"health report": lambda: _report(service, name)}
    for code in codes:
        asked[f"100 images of {code}"] = images(code, 100)
        asked[f"1,000 images of {code}"] = images(code, 1000)
    return asked


async def ask(questions: dict[str, Question]) -> Taken:
    """Ask each again and again."""
    taken: Taken = {}
    for title, question in questions.items():
        await question()
        for _ in range(ANSWERS):
            await _timed(taken, title, question)
    return taken


async def turn_pages(service: DatasetProcess, name: str) -> Taken:
    """Pages of images one after another, as far behind the first as there are answers."""
    taken: Taken = {}
    request = dataset_service_pb2.ListImagesRequest(parent=name, page_size=1000)
    for _ in range(ANSWERS):
        answer = await _timed(taken, "pages of 1,000 images, one after another", lambda: call(service.stub.ListImages, request))
        assert isinstance(answer, dataset_service_pb2.ListImagesResponse)
        request.page_token = answer.next_page_token
    return taken


async def surveyed(service: DatasetProcess, name: str) -> Sequence[str]:
    """Let the survey come to its end; the codes that it found."""

    async def ready() -> health_pb2.HealthReport:
        report = await _report(service, name)
        assert report.state == health_pb2.HealthReport.READY, report.error_message
        return report

    report = await assert_eventually(ready, timeout_seconds=SURVEY_SECONDS)
    return [finding.code for finding in report.content.findings]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def _report(service: DatasetProcess, name: str) -> health_pb2.HealthReport:
    return await call(service.stub.GetHealthReport, health_pb2.GetHealthReportRequest(name=f"{name}/health"))


async def _timed(taken: Taken, title: str, question: Question) -> object:
    began = time.perf_counter()
    answer = await question()
    taken.setdefault(title, []).append(1000 * (time.perf_counter() - began))
    return answer
