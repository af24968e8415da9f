"""The tree of errors that the platform raises on purpose.

A refusal of a client's request is no error but a value (model.refusal); these say that something
outside did not go as it must.
"""


class HansaError(Exception):
    """Base of them all."""

    code = "internal"
    retryable = False


class UnknownVersionError(HansaError):
    """A message or a row came in a version that we do not speak."""

    code = "version-unknown"


class SettingsError(HansaError):
    """A file of settings says what cannot be; the message names file and field."""

    code = "settings"


class StoreError(HansaError):
    """The store did not do what it was told."""

    code = "store"


class StaleRevisionError(StoreError):
    """Another writer was there first."""

    code = "store-stale"


class StoreFullError(StoreError):
    """No space was left; nothing has changed."""

    code = "store-full"
    retryable = True


class TrimmedError(StoreError):
    """The change log does not reach back that far: list anew."""

    code = "revision-trimmed"


class DriverError(HansaError):
    """The outside refused: `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str, *, retryable: bool = True) -> None:
        """Keep what happened."""
        super().__init__(message)
        self.code, self.retryable = code, retryable
