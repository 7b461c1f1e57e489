# SPDX-License-Identifier: Apache-2.0
"""Every way in which a request can be refused, by meaning; Neutron's `type` is an argument.

    Refusal
    ├── Invalid              400  the request is malformed or breaks a rule
    ├── Unauthorized         401  nobody knows who asks
    ├── Forbidden            403  the asker may not
    ├── NotFound             404  there is no such object, or the asker may not see it
    ├── MethodNotAllowed     405  the URL exists, the verb does not
    ├── Conflict             409  the object is in use, taken, or the quota is used up
    ├── PreconditionFailed   412  If-Match named another revision
    ├── TooLarge             413  the body or the bulk is over a named limit
    ├── UnsupportedMedia     415  the body is not JSON
    ├── Unsupported          501  it would have to change what another system keeps
    └── Unavailable          503  the log is out of reach, or the outcome is unknown

A refusal leaves no trace: the request that raised it changed nothing, unless it is an `Unavailable`
whose message says that the outcome is unknown.
"""


class Refusal(Exception):
    """A request refused. `message` is one sentence that names the object and the way out."""

    status: int = 500
    default_type: str = "HTTPInternalServerError"

    def __init__(self, message: str, *, type: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.type = type or self.default_type
        self.detail = detail


class Invalid(Refusal):
    """The request is malformed, or breaks a rule that no retry will mend."""

    status = 400
    default_type = "HTTPBadRequest"


class Unauthorized(Refusal):
    """The caller did not prove who it is."""

    status = 401
    default_type = "HTTPUnauthorized"


class Forbidden(Refusal):
    """The caller is known, and its roles do not allow this."""

    status = 403
    default_type = "HTTPForbidden"


class NotFound(Refusal):
    """No such object exists, or the caller may not see it."""

    status = 404
    default_type = "HTTPNotFound"


class MethodNotAllowed(Refusal):
    """The URL is known and does not take this verb."""

    status = 405
    default_type = "HTTPMethodNotAllowed"


class Conflict(Refusal):
    """The object is in use, the value is taken, or the pool or quota is used up."""

    status = 409
    default_type = "HTTPConflict"


class PreconditionFailed(Refusal):
    """If-Match named a revision that is not the object's current one."""

    status = 412
    default_type = "RevisionNumberConstraintFailed"


class TooLarge(Refusal):
    """The body or the number of objects is over a named limit."""

    status = 413
    default_type = "HTTPRequestEntityTooLarge"


class UnsupportedMedia(Refusal):
    """The body is of a media type that the API does not read."""

    status = 415
    default_type = "HTTPUnsupportedMediaType"


class Unsupported(Refusal):
    """What is asked for would have to change what another system keeps, as Nova does in placement."""

    status = 501
    default_type = "HTTPNotImplemented"


class Unavailable(Refusal):
    """The log is out of reach, or whether the commit happened is not known; the message says which."""

    status = 503
    default_type = "ServiceUnavailable"
