"""Resource names: paths such as ``projects/default/datasets/receipts/images/im-01``.

A name is built and taken apart only here, so that no room splits strings at slashes.
"""

import re
import secrets
import time
from typing import Final

from libs.runtime.errors import InvalidInput, NotFound

DEFAULT_PROJECT: Final = "default"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}")
# Ids the server makes (images, nodes, digests) may be longer than what a person may choose; none may
# hold a character that means something in a NATS subject or in a REST path.
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class InvalidName(InvalidInput):
    """A resource name or id that breaks the rule."""

    reason = "INVALID_NAME"


def check_id(value: str, what: str) -> str:
    """Return ``value`` when a person may name a ``what`` (dataset, task, deployment …) so.

    Raises:
        InvalidName: not 1 to 30 characters of letters, digits, ``_``, ``-``, or the first is no letter or digit.
    """
    if not _ID.fullmatch(value):
        raise InvalidName(
            f"{value[:60]!r} cannot name a {what}: use 1 to 30 letters, digits, '_' or '-', beginning with a letter or digit.",
            what=what,
            value=value[:60],
        )
    return value


class Pattern:
    """The form of one kind of resource name, for example ``projects/{project}/datasets/{dataset}``."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.fields: tuple[str, ...] = tuple(re.findall(r"\{(\w+)\}", template))
        self._regex = re.compile(re.sub(r"\{(\w+)\}", rf"(?P<\1>{_SEGMENT})", template))

    def format(self, **ids: str) -> str:
        """Build a name.

        Raises:
            InvalidName: an id that cannot be a path segment.
        """
        name = self.template.format(**ids)
        self.parse(name)
        return name

    def parse(self, name: str) -> dict[str, str]:
        """Take a name apart into its ids, keyed as in the template.

        Raises:
            InvalidName: the name does not have this form.
        """
        match = self._regex.fullmatch(name)
        if match is None:
            raise InvalidName(f"{name[:200]!r} is no name of the form {self.template}.", value=name[:200], form=self.template)
        return match.groupdict()

    def matches(self, name: str) -> bool:
        """Whether ``name`` has this form."""
        return self._regex.fullmatch(name) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.template!r})"


def check_project(name: str) -> None:
    """Let pass what lies in the one project there is, or in none.

    Raises:
        NotFound: it lies in another.
    """
    first, _, rest = name.partition("/")
    project = rest.partition("/")[0]
    if first == "projects" and project != DEFAULT_PROJECT:
        raise NotFound(f"There is no project {project[:60]!r}; there is one, {DEFAULT_PROJECT!r}.", project=project[:60])


PROJECT: Final = Pattern("projects/{project}")
DATASET: Final = Pattern("projects/{project}/datasets/{dataset}")
IMAGE: Final = Pattern("projects/{project}/datasets/{dataset}/images/{image}")
VERSION: Final = Pattern("projects/{project}/datasets/{dataset}/versions/{version}")
UPLOAD: Final = Pattern("projects/{project}/datasets/{dataset}/uploads/{upload}")
LABEL_IMPORT: Final = Pattern("projects/{project}/datasets/{dataset}/labelImports/{label_import}")
LABELS: Final = Pattern("projects/{project}/datasets/{dataset}/images/{image}/labels")
HEALTH: Final = Pattern("projects/{project}/datasets/{dataset}/health")
FINDING: Final = Pattern("projects/{project}/datasets/{dataset}/health/findings/{finding}")
NORMALIZATION: Final = Pattern("projects/{project}/datasets/{dataset}/normalization")
PAGE: Final = Pattern("projects/{project}/datasets/{dataset}/pages/{image}")
PRELABEL: Final = Pattern("projects/{project}/datasets/{dataset}/prelabels/{prelabel}")
TASK: Final = Pattern("projects/{project}/tasks/{task}")
NODE: Final = Pattern("projects/{project}/tasks/{task}/nodes/{node}")
ATTEMPT: Final = Pattern("projects/{project}/tasks/{task}/nodes/{node}/attempts/{attempt}")
MODEL: Final = Pattern("projects/{project}/models/{model}")
DEPLOYMENT: Final = Pattern("projects/{project}/deployments/{deployment}")
USER: Final = Pattern("users/{user}")
TOKEN: Final = Pattern("users/{user}/tokens/{token}")
AUDIT_ENTRY: Final = Pattern("auditEntries/{audit_entry}")
DEAD_LETTER: Final = Pattern("deadLetters/{dead_letter}")
INSTANCE: Final = Pattern("projects/{project}/deployments/{deployment}/instances/{instance}")


def new_id(prefix: str) -> str:
    """A fresh id such as ``im-01jd8m3k0e4x9c2v7q1t``: sorts by creation time (1 ms), 50 random bits, 20 characters after the dash."""
    number = (time.time_ns() // 1_000_000) << 50 | secrets.randbits(50)
    return f"{prefix}-" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(95, -1, -5))
