"""Models: what can be deployed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from libs.runtime.errors import WrongState


class Origin(StrEnum):
    """Where a model comes from."""

    BASE = "BASE"
    TRAINED = "TRAINED"
    IMPORTED = "IMPORTED"


class ModelState(StrEnum):
    """As in the proto."""

    READY = "READY"
    RETIRED = "RETIRED"


class ModelInUse(WrongState):
    """A deployment still uses the model."""

    reason = "MODEL_IN_USE"


class ModelRetired(WrongState):
    """The model is not offered any more."""

    reason = "MODEL_RETIRED"


@dataclass(frozen=True)
class Verdict:
    """What the gate says: whether a model may replace what is there, and why."""

    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A model and the digest of its bundle.

    Args:
        uid: sorts by the moment of registration.
        bundle_digest: SHA-256 (hex) of the bundle's manifest.
        model_size: bytes of each precision variant.
        metrics: on the validation set; empty where none ran.
        deployments: names of the deployments that use it now.
    """

    name: str
    uid: str
    origin: Origin
    bundle_digest: str
    charset_digest: str
    num_characters: int
    model_size: Mapping[str, int]
    code_version: str
    create_time: datetime
    state: ModelState = ModelState.READY
    metrics: Mapping[str, float] = field(default_factory=dict)
    base_metrics: Mapping[str, float] = field(default_factory=dict)
    task: str = ""
    dataset_version: str = ""
    base: str = ""
    gate: Verdict | None = None
    deployments: tuple[str, ...] = ()

    def retire(self) -> "Model":
        """Withdraw it; its bundle stays for what runs it.

        Raises:
            WrongState: it is a base.
            ModelRetired: it was withdrawn before.
            ModelInUse: a deployment uses it.
        """
        if self.origin is Origin.BASE:
            raise WrongState(
                f"{self.name} is a base of this installation; remove its bundle from the models folder instead.", model=self.name
            )
        if self.state is ModelState.RETIRED:
            raise ModelRetired(f"{self.name} is retired already.", model=self.name)
        if self.deployments:
            listed = ", ".join(self.deployments)
            raise ModelInUse(f"{self.name} is used by {listed}; delete or update these first.", model=self.name, deployments=listed)
        return replace(self, state=ModelState.RETIRED)
