"""Which errors are the infrastructure's and not the data's: storage, network, credentials, disk, GPU, a dead engine.

A unit that meets one is left open and done again; it never becomes a quarantine row. Packages that may not be installed
(botocore, aiohttp, requests, torch, ...) are not imported: their errors are known by class name and by code.
"""

import errno
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Reason = Literal[
    "timeout",
    "connection",
    "cut short",
    "changed",
    "throttled",
    "server error",
    "credentials",
    "not found",
    "no space",
    "disk",
    "cuda",
    "engine lost",
    "codec missing",
]

ATTEMPTS = 8
"""Times that something is tried in all: with the pauses below, for about a minute."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

_BY_CLASS: dict[str, Reason] = {
    # Python's own (asyncio's is TimeoutError), botocore's, aiohttp's, requests's, httpx's and fsspec's
    **dict.fromkeys(
        (
            "TimeoutError",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "Timeout",
            "TimeoutException",
            "FSTimeoutError",
            "ServerTimeoutError",
        ),
        "timeout",
    ),
    **dict.fromkeys(
        (
            *("ConnectionError", "HTTPClientError", "ClientConnectionError", "TransportError", "gaierror", "SSLError"),
            *("ProtocolError", "MetadataRetrievalError"),
        ),
        "connection",
    ),
    **dict.fromkeys(
        (
            *("ClientPayloadError", "IncompleteReadError", "IncompleteRead", "ResponseStreamingError"),
            *("ChunkedEncodingError", "ContentDecodingError", "ResponseParserError", "ChecksumError"),
        ),
        "cut short",
    ),
    "FileExpired": "changed",
    **dict.fromkeys(
        (
            *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "NoAuthTokenError"),
            *("TokenRetrievalError", "SSOError", "RefreshError", "DefaultCredentialsError", "ProfileNotFound"),
        ),
        "credentials",
    ),
    **dict.fromkeys(("OutOfMemoryError", "AcceleratorError", "CudaError", "DistBackendError"), "cuda"),
    "EngineLostError": "engine lost",
}
"""The name of a class, or of one that it derives from -> the reason; the first in the order of derivation counts."""

_BY_CODE: dict[str, Reason] = {
    **dict.fromkeys(
        (
            *("SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded"),
            *("RequestThrottled", "TooManyRequests", "TooManyRequestsException", "BandwidthLimitExceeded"),
            *("ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict"),
        ),
        "throttled",
    ),
    **dict.fromkeys(
        (
            *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidAccessKeyId", "InvalidToken"),
            *("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "TokenRefreshRequired"),
            *("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem", "InvalidSecurity"),
            *("RequestTimeTooSkewed", "AuthFailure", "ExpiredTokenError"),
            "400",  # botocore's name for a 400 without a body: what a HEAD gets for an expired token
        ),
        "credentials",
    ),
    **dict.fromkeys(("NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NotFound"), "not found"),
    **dict.fromkeys(("InternalError", "InternalFailure", "InternalServerError"), "server error"),
    **dict.fromkeys(("RequestTimeout", "RequestTimeoutException"), "timeout"),
    **dict.fromkeys(("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"), "cut short"),
}
_BY_STATUS: dict[int, Reason] = {
    **dict.fromkeys((401, 403, 407), "credentials"),
    **dict.fromkeys((404, 410), "not found"),
    **dict.fromkeys((409, 429, 503), "throttled"),
    **dict.fromkeys((412, 416), "changed"),
    408: "timeout",
}
_BY_ERRNO: dict[int, Reason] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "no space"),
    **dict.fromkeys((errno.ENOENT, errno.ENODEV, errno.ENXIO), "not found"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "credentials"),
    **dict.fromkeys((errno.ETIMEDOUT,), "timeout"),
    **dict.fromkeys((errno.ECONNRESET, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH), "connection"),
}


class ShortBodyError(OSError):
    """A server sent fewer bytes than it had announced, or than the object has."""


_BY_CLASS[ShortBodyError.__name__] = "cut short"


def is_infrastructure(error: BaseException | None) -> Reason | None:
    """Return in a word what failed, where it was the infrastructure; None for bad data, a mistake and a bug.

    Looks through what an error was raised from: libraries wrap the disk's and the network's errors.

    >>> is_infrastructure(OSError(errno.ENOSPC, "No space left on device"))
    'no space'
    >>> is_infrastructure(ValueError("not a picture"))
    """
    links = list(_chain(error))
    for link in links:
        reason: Reason | None = getattr(link, "infrastructure", None) or _of_answer(link) or _of_class(link)
        if reason is not None:
            return reason
    if status_of(error) is not None:
        return None  # a server's answer of another kind, such as an invalid name: asking again would not help
    return next((reason for link in links if (reason := _of_errno(link)) is not None), None)


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status of the server's answer that an error comes from, if it comes from one."""
    return next((status for link in _chain(error) if (status := _status(link)) is not None), None)


def code_of(error: BaseException | None) -> str:
    """Return the code of the S3 server's answer that an error comes from, or ""."""
    return next((code for link in _chain(error) if (code := _code(link))), "")


def retrying(
    action: Callable[[], T],
    *,
    attempts: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    failed: Callable[[Reason], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `action` returns; while the infrastructure fails it, do it again after pauses that double.

    What is raised in the end is the last error as it came; any other error is raised at once. Pauses have a jitter of
    a half, so that many workers that were refused together do not come back together.

    Args:
        attempts: times in all; default: ATTEMPTS, about a minute. say: gets a line before each pause.
        failed: told each reason before the action is done again, to renew what the reason asks for.
    """
    most = attempts if attempts is not None else ATTEMPTS
    for number in range(most):
        try:
            return action()
        except Exception as error:
            reason = is_infrastructure(error)
            if reason is None or number + 1 >= most:
                raise
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number) * _JITTER.uniform(0.5, 1.0)
            say(f"{reason} ({words(error)}); trying again in {pause:.1f} s ({number + 1} of {most})")
            failed(reason)
        sleep(pause)
    raise ValueError(f"attempts must be at least 1, not {most}")


_JITTER = random.SystemRandom()  # no seed and no state: when something is tried again changes no result


def words(error: BaseException, longest: int = 160) -> str:
    """Return what an error says in one short line, without anything that looks like a secret."""
    from captioners.core.secrets import redacted

    said = redacted(" ".join(str(error).split())) or type(error).__name__
    return said if len(said) <= longest else f"{said[: longest - 1]}…"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, as a traceback would show them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _of_answer(error: BaseException) -> Reason | None:
    """Judge what a server answered: an S3 code, else an HTTP status."""
    status = _status(error)
    if status is None:
        return None
    known = _BY_CODE.get(_code(error)) or _BY_STATUS.get(status)
    return known or ("server error" if 500 <= status <= 599 else None)


def _code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error is about, as botocore, aiohttp, requests, httpx and gcsfs keep it."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        found = [response.get("ResponseMetadata", {}).get("HTTPStatusCode"), _code(error)]
        found += [400] if _code(error) else []  # an answer, whatever its status was
    else:  # by __dict__: aiohttp's `code` warns when it is asked for
        found = [getattr(response, "status_code", None), getattr(error, "status", None), vars(error).get("code")]
    return next((int(value) for value in found if str(value).isdecimal() and 400 <= int(value) <= 599), None)


def _of_class(error: BaseException) -> Reason | None:
    if getattr(error, "reason", None) == "missing_codec":  # an ImageError: another machine could read the picture
        return "codec missing"
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_CLASS:
            return _BY_CLASS[kind.__name__]
    said = str(error)
    return "cuda" if isinstance(error, RuntimeError) and ("CUDA" in said or "NCCL" in said) else None


def _of_errno(error: BaseException) -> Reason | None:
    if not isinstance(error, OSError):
        return None
    if isinstance(error.errno, int):
        return _BY_ERRNO.get(error.errno, "disk")
    # Without a number: fsspec's for a store's answer, or a library's word for bad data, as Pillow's and pyarrow's are.
    if isinstance(error, FileNotFoundError):
        return "not found"
    return "credentials" if isinstance(error, PermissionError) else None
