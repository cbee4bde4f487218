"""How the processes of an installation prove themselves to each other: signed access tokens always, mutual TLS where it is set up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from libs.runtime import call_context
from libs.runtime.access_token import AccessKey
from libs.runtime.caller import SERVICE_PERMISSIONS, Caller
from libs.runtime.secrets import InstallationKey
from libs.runtime.settings import ServiceSettings
from libs.runtime.tls import Tls


def access_key(key: InstallationKey) -> bytes:
    """The key that an installation's access tokens are signed with."""
    return key.derive("access-tokens")


@dataclass(frozen=True)
class Credentials:
    """What a channel shows.

    Args:
        token: gives the access token of each call.
        tls: ``None`` for a plain connection.
    """

    token: Callable[[], str]
    tls: Tls | None


@dataclass(frozen=True)
class Trust:
    """What a process checks callers with, and proves itself by."""

    key: AccessKey
    tls: Tls | None = None

    @classmethod
    def load(cls, settings: ServiceSettings) -> Self:
        """From the installation's key and the settings of TLS.

        Raises:
            CannotStart: the key or a certificate cannot be used.
        """
        return cls(AccessKey(access_key(InstallationKey.load(settings.home))), settings.tls)

    def as_service(self, service: str) -> Credentials:
        """Credentials of a service, on behalf of whoever's call it answers at the time."""

        def token() -> str:
            answered = call_context.caller.get()
            return self.key.sign(Caller(f"services/{service}", SERVICE_PERMISSIONS[service], answered.actor if answered else ""))

        return Credentials(token, self.tls)

    def as_caller(self) -> Credentials:
        """Credentials of whoever's call is being answered: for the gateway, which only passes calls on.

        A call outside of any has none and raises ``LookupError``.
        """

        def token() -> str:
            answered = call_context.caller.get()
            if answered is None:
                raise LookupError("there is no call whose caller could be passed on")
            return self.key.sign(answered)

        return Credentials(token, self.tls)
