"""A dataset service that is killed while it surveys: the report is the one that a service makes which nobody kills."""

import random
from pathlib import Path

import pytest

from inkwright.dataset.v1 import health_pb2
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually, nats_server
from tests.integration.conftest import Databases
from tests.integration.dataset_process import DatasetProcess, dataset_process
from tests.integration.sick_folder import sick_folder

NUM_COPIES = 12
"""Of every folder of planted defects, so that a survey takes several batches."""

Report = health_pb2.HealthReport


async def report_of(service: DatasetProcess, name: str) -> Report:
    return await call(service.stub.GetHealthReport, health_pb2.GetHealthReportRequest(name=f"{name}/health"))


async def refresh(service: DatasetProcess, name: str) -> Report:
    return await call(service.stub.RefreshHealthReport, health_pb2.RefreshHealthReportRequest(name=f"{name}/health"))


async def finished(service: DatasetProcess, name: str) -> Report:
    async def ready() -> Report:
        found = await report_of(service, name)
        assert found.state == Report.READY, found.error_message
        return found

    return await assert_eventually(ready, timeout_seconds=60)


async def found_on(service: DatasetProcess, name: str, report: Report) -> dict[str, list[tuple[str, str]]]:
    """Every image of every finding."""
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in report.content.findings:
        request = health_pb2.ListFindingImagesRequest(parent=f"{name}/health/findings/{finding.code}", page_size=1000)
        reply = await call(service.stub.ListFindingImages, request)
        found[finding.code] = [(image.key, image.detail) for image in reply.images]
    return found


def many_defects(folder: Path) -> None:
    for number in range(NUM_COPIES):
        sick_folder(folder / f"part{number:02}")


async def kill_somewhere(service: DatasetProcess, name: str, chance: random.Random, last: Report) -> str:
    """Kill it once it has come a random way, and start it again; gives the phase that it was in."""
    phase = chance.choice(["IMAGES", "IMAGES", "GROUPS"])
    goal = chance.randrange(400) if phase == "IMAGES" else 0

    async def far_enough() -> str:
        found = await report_of(service, name)
        passed = found.progress.phase == "GROUPS" or found.create_time != last.create_time
        assert passed or (phase == "IMAGES" and found.progress.phase == "IMAGES" and found.progress.num_seen >= goal)
        return found.progress.phase

    was_in = await assert_eventually(far_enough, timeout_seconds=60)
    await service.kill()
    await service.start()
    return was_in


async def indexed(service: DatasetProcess, folder: Path, dataset_id: str) -> str:
    """A dataset of the folder, whose first survey has begun."""
    name = await service.create(str(folder), dataset_id)

    async def is_indexed() -> None:
        assert (await service.get(name)).sync_number == 1

    await assert_eventually(is_indexed, timeout_seconds=60)
    return name


async def killed_at(seeds: list[int], folder: Path) -> list[str]:
    """One report without a kill, then one for each seed with a kill; all of them the same. Gives where the kills hit.

    Every other survey is the first of its dataset and reads the pixels of all images; the others know those.
    """
    many_defects(folder / "images")
    (folder / "nats").mkdir()
    hit: list[str] = []
    async with nats_server(folder / "nats") as nats, dataset_process(folder, folder / "images", nats) as service:
        first = name = await indexed(service, folder / "images", "whole")
        last = whole = await finished(service, name)
        images = await found_on(service, name, whole)
        for seed in seeds:
            chance = random.Random(seed)
            if seed % 2:
                name, last = await indexed(service, folder / "images", f"again{seed}"), Report()
            else:
                name, last = first, await finished(service, first)
                await refresh(service, name)
            hit.append(await kill_somewhere(service, name, chance, last))
            last = await finished(service, name)
            # A report names its dataset.
            assert name != first or last.digest == whole.digest, seed
            assert await found_on(service, name, last) == images, seed
    return hit


@pytest.mark.timeout(120)
async def test_a_survey_that_is_killed_ends_with_the_same_report(tmp_path: Path) -> None:
    assert any(await killed_at([1, 2], tmp_path))


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_survey_that_is_killed_at_twenty_places_ends_with_the_same_report(tmp_path: Path, long_databases: Databases) -> None:
    hit = await killed_at(list(range(20)), tmp_path)
    assert {"IMAGES", "GROUPS"} <= set(hit)
