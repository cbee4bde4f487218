"""Who calls, and what they may do."""

from dataclasses import dataclass
from typing import Final

from inkwright.common.v1 import permission_pb2
from libs.runtime.errors import Forbidden

ALL_PERMISSIONS: Final = frozenset(permission_pb2.Permission.keys()) - {"PERMISSION_UNSPECIFIED"}
"""Names of the values of ``Permission``."""

SERVICE_PERMISSIONS: Final = {
    # What a caller of the public API may do was decided by the deployment's token.
    "gateway": frozenset({"PREDICT"}),
    "dataset": frozenset[str](),
    "labeling": frozenset({"VIEW", "PREDICT", "INTERNAL_CALL"}),
    "trainer": frozenset({"VIEW", "TRAIN"}),
    "inference": frozenset({"VIEW"}),
}
"""What each service may ask of the others, in its own name."""


@dataclass(frozen=True)
class Caller:
    """Whoever makes a call.

    Args:
        principal: ``users/ann``, ``services/labeling``, or ``installation`` for whoever holds the installation's own token.
        permissions: names of the values of ``Permission``.
        on_behalf_of: the principal whose call a service answers with this one; empty otherwise.
        is_session: a person who has signed in; not told to other processes.
    """

    principal: str
    permissions: frozenset[str]
    on_behalf_of: str = ""
    is_session: bool = False

    @property
    def actor(self) -> str:
        """Who wanted it in the first place."""
        return self.on_behalf_of or self.principal

    def may(self, permission: str) -> bool:
        """Whether the caller has a permission."""
        return permission in self.permissions

    def require(self, permission: str) -> None:
        """Let the call pass.

        Raises:
            Forbidden: the caller has not this permission.
        """
        if not self.may(permission):
            raise Forbidden(
                f"{self.principal} may not do this: it takes the permission {permission}. Ask an administrator for a role that has it.",
                principal=self.principal,
                permission=permission,
            )
