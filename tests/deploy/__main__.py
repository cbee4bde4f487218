"""``python -m tests.deploy``: the chart under every set of values, and the Compose file. Exit code 1 when anything is wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate

from tests.deploy import compose, crosscheck, dockerfile
from tests.deploy.documents import Manifests, load
from tests.deploy.helm import VALUES, HelmFailed, fetch_helm, lint, template

KUBERNETES_VERSIONS = ("1.27", "1.37")
"""The oldest that the chart names, and a recent one."""
RELEASES = ("inkwright", "trial")
"""One that names the chart, and one that does not."""
GIVEN_CLAIMS = {"external": ("scans",), "several": ("models",)}
"""Claims that a set of values expects the operator to have made."""

REFUSED = (
    "services.trainer.replicas=2",
    "services.inference.replicas=0",
    "services.inference.autoscaling.enabled=true",
    "services.gateway.replica=2",
    "services.dataset.image.tag=latest",
    "image.tag=latest",
    "postgresql.image=postgres:latest",
    "postgresql.enabled=false",
    "nats.enabled=false",
    "nats.replicas=2",
    "user.id=0",
    "ingress.enabled=true",
    "settings.HOME=/",
)
"""Single values that the chart does not take: a typing error, a second pod where one must be alone, what is missing."""


def main() -> int:
    """Check everything, print what is wrong."""
    try:
        found = [*_of_files(), *_of_chart(fetch_helm())]
    except HelmFailed as error:
        found = [str(error)]
    for problem in found:
        print(problem)
    return 1 if found else 0


def _of_files() -> Iterator[str]:
    images = dockerfile.parse(dockerfile.DOCKERFILE.read_text())
    yield from (f"Dockerfile: {problem}" for problem in dockerfile.problems(images))
    base, overlay = compose.COMPOSE.read_text(), compose.OSS_OVERLAY.read_text()
    yield from (f"compose.yaml: {problem}" for problem in compose.problems(base, images))
    yield from (f"compose.oss.yaml: {problem}" for problem in compose.overlay_problems(overlay, base))


def _of_chart(helm: Path) -> Iterator[str]:
    for values in (None, *sorted(VALUES.glob("*.yaml"))):
        name = "default" if values is None else values.stem
        lint(helm, values)
        for release in RELEASES:
            manifests = Manifests(load(template(helm, values, release=release)))
            yield from (f"{name}: {problem}" for problem in crosscheck.problems(manifests, given_claims=GIVEN_CLAIMS.get(name, ())))
            if release == RELEASES[0]:
                yield from (f"{name}: {problem}" for problem in _of_schemas(manifests))
            print(f"{name} as {release}: {len(manifests.documents)} objects")

    yield from (f"{one} is taken" for one in REFUSED if _is_taken(helm, one))


def _is_taken(helm: Path, setting: str) -> bool:
    try:
        template(helm, None, settings=[setting])
    except HelmFailed:
        return False
    return True


def _of_schemas(manifests: Manifests) -> Iterator[str]:
    for document in manifests.documents:
        for version in KUBERNETES_VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{document['kind']} {document['metadata']['name']} ({version}): {error.message}"


if __name__ == "__main__":
    sys.exit(main())
