"""Kubernetes' own error answers: a `Status` object with code, reason and a sentence.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from typing import Any


class StatusError(Exception):
    """A request that is refused; carries everything its `Status` says."""

    code = 500
    reason = "InternalError"

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.message, self.details = message, details

    def body(self) -> dict[str, Any]:
        """The `Status` object."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return {**status, "details": self.details} if self.details else status


class BadRequest(StatusError):
    """The request can't be understood."""

    code, reason = 400, "BadRequest"


class Unauthorized(StatusError):
    """The credentials are no good."""

    code, reason = 401, "Unauthorized"


class Forbidden(StatusError):
    """We know who it is, and they may not."""

    code, reason = 403, "Forbidden"


class NotFound(StatusError):
    """No such object or path."""

    code, reason = 404, "NotFound"


class MethodNotAllowed(StatusError):
    """The resource has no such verb here."""

    code, reason = 405, "MethodNotAllowed"


class AlreadyExists(StatusError):
    """An object of that name is there already."""

    code, reason = 409, "AlreadyExists"


class Conflict(StatusError):
    """The object has changed since the caller read it."""

    code, reason = 409, "Conflict"


class Expired(StatusError):
    """The resourceVersion is older than what is kept: list again."""

    code, reason = 410, "Expired"


class UnsupportedMediaType(StatusError):
    """The body is of a kind that the sandbox does not read."""

    code, reason = 415, "UnsupportedMediaType"


class Invalid(StatusError):
    """The object breaks a rule of its kind."""

    code, reason = 422, "Invalid"


class ServiceUnavailable(StatusError):
    """The cluster can't serve this now: etcd has no quorum."""

    code, reason = 503, "ServiceUnavailable"


def success(**details: str) -> dict[str, Any]:
    """The `Status` of a delete that was done."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
