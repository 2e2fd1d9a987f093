"""Which errors are the infrastructure's: known without importing who raises them, and never bad data or a bug."""

import errno
import socket
import ssl
from types import SimpleNamespace

import pytest

from captioners.core.errors import ImageError, NotFoundError, StorageError, UserError
from captioners.core.failures import ShortBodyError, is_infrastructure, retrying, words


def raised(error, cause=None):
    """An error as it comes out of a `raise ... from`."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def boto(code, status):
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


def theirs():
    """Real errors of the libraries, and what each is."""
    import aiohttp
    import botocore.exceptions as b
    import requests
    import torch
    from fsspec.exceptions import FSTimeoutError
    from s3fs.errors import translate_boto_error
    from s3fs.utils import FileExpired

    about = SimpleNamespace(real_url="http://host/x")
    url = {"endpoint_url": "http://host"}
    return [
        (boto("SlowDown", 503), "throttled"),
        (translate_boto_error(boto("SlowDown", 503)), "throttled"),
        (translate_boto_error(boto("503", 503)), "throttled"),
        (boto("InternalError", 500), "server error"),
        (translate_boto_error(boto("BadGateway", 502)), "server error"),
        (translate_boto_error(boto("ExpiredToken", 400)), "credentials"),
        (translate_boto_error(boto("400", 400)), "credentials"),  # a HEAD of an expired token has no body
        (translate_boto_error(boto("AccessDenied", 403)), "credentials"),
        (translate_boto_error(boto("403", 403), set_cause=False), "credentials"),
        (translate_boto_error(boto("NoSuchKey", 404)), "not found"),
        (translate_boto_error(boto("NoSuchBucket", 404)), "not found"),
        (translate_boto_error(boto("RequestTimeout", 400)), "timeout"),
        (b.NoCredentialsError(), "credentials"),
        (b.ReadTimeoutError(**url), "timeout"),
        (b.ConnectTimeoutError(**url), "timeout"),
        (b.EndpointConnectionError(**url), "connection"),
        (b.ConnectionClosedError(**url), "connection"),
        (b.IncompleteReadError(actual_bytes=1, expected_bytes=2), "cut short"),
        (FileExpired("x", "etag"), "changed"),
        (FSTimeoutError(), "timeout"),
        (aiohttp.ClientPayloadError("cut"), "cut short"),
        (aiohttp.ServerDisconnectedError(), "connection"),
        (aiohttp.ServerTimeoutError(), "timeout"),
        (aiohttp.ClientResponseError(about, (), status=429), "throttled"),
        (aiohttp.ClientResponseError(about, (), status=404), "not found"),
        (requests.ConnectionError(), "connection"),
        (requests.ReadTimeout(), "timeout"),
        (requests.HTTPError(response=SimpleNamespace(status_code=504)), "server error"),
        (torch.OutOfMemoryError("CUDA out of memory"), "cuda"),
    ]


def test_real_errors_of_the_libraries_are_known():
    wrong = {repr(error): (reason, is_infrastructure(error)) for error, reason in theirs()}
    assert not {said: pair for said, pair in wrong.items() if pair[0] != pair[1]}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "full"), "no space"),
        (OSError(errno.EDQUOT, "quota"), "no space"),
        (OSError(errno.EIO, "broken"), "disk"),
        (OSError(errno.ESTALE, "stale"), "disk"),
        (PermissionError(errno.EACCES, "no"), "credentials"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "connection"),
        (socket.gaierror(-2, "Name or service not known"), "connection"),
        (ssl.SSLError("handshake"), "connection"),
        (RuntimeError("CUDA error: an illegal memory access"), "cuda"),
        (type("EngineLostError", (Exception,), {})("gone"), "engine lost"),
        (ImageError("x.heic: needs a codec", "missing_codec"), "codec missing"),
        (ShortBodyError("3 of 9 bytes"), "cut short"),
        (StorageError("s3://b: refused", "credentials"), "credentials"),
        (raised(UserError("x.tar: could not be read"), OSError(errno.EIO, "broken")), "disk"),
        (raised(RuntimeError("serializing failed"), OSError(errno.ENOSPC, "full")), "no space"),
    ],
    ids=repr,
)
def test_what_fails_is_said_in_a_word(error, reason):
    assert is_infrastructure(error) == reason


def test_bad_data_mistakes_and_bugs_are_none():
    import pyarrow
    from PIL import UnidentifiedImageError

    hidden = raised(NotFoundError("no such shard"), None)
    hidden.__context__, hidden.__suppress_context__ = FileNotFoundError(errno.ENOENT, "gone"), True
    none = [
        *(None, ValueError("x"), KeyError("y"), AssertionError(), RuntimeError("shape mismatch")),
        *(UserError("a mistake"), ImageError("cut", "truncated"), UnidentifiedImageError("no picture")),
        *(pyarrow.ArrowInvalid("not Parquet"), OSError("Couldn't deserialize thrift"), hidden),
        *(boto("InvalidBucketName", 400), boto("KeyTooLongError", 400), FileExistsError("x")),
    ]
    assert [error for error in none if is_infrastructure(error)] == []
    from s3fs.errors import translate_boto_error

    assert is_infrastructure(translate_boto_error(boto("InvalidBucketName", 400))) is None


def flaky(*errors):
    """An action that raises these, then returns 'done'."""
    left = list(errors)

    def action():
        if left:
            raise left.pop(0)
        return "done"

    return action


def test_what_fails_for_a_while_is_done_again_after_pauses_that_double():
    pauses, said, reasons = [], [], []
    action = flaky(TimeoutError("slow"), ConnectionResetError("reset"), PermissionError("no"))
    assert retrying(action, sleep=pauses.append, say=said.append, failed=reasons.append) == "done"
    assert reasons == ["timeout", "connection", "credentials"]
    assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses)) and len(pauses) == 3
    assert said[0].startswith("timeout (slow); trying again in ")
    pauses.clear()
    with pytest.raises(TimeoutError):
        retrying(flaky(*[TimeoutError()] * 99), sleep=pauses.append)
    assert len(pauses) == 7 and 25 < sum(pauses) < 62 and max(pauses) <= 30


def test_what_lasts_is_raised_as_it_came_and_a_bug_at_once():
    last = OSError(errno.EIO, "third")
    with pytest.raises(OSError, match="third") as caught:
        retrying(flaky(TimeoutError(), TimeoutError(), last, last), attempts=3, sleep=lambda _: None)
    assert caught.value is last
    with pytest.raises(KeyError):
        retrying(flaky(KeyError("bug"), TimeoutError()), sleep=lambda _: pytest.fail("a bug is not waited for"))


def test_a_message_shows_no_secret_and_is_one_short_line():
    said = words(
        OSError("GET https://me:hunter22@host/a.tar?X-Amz-Signature=0123456789abcdef refused\nAKIAABCDEFGHIJKLMNOP")
    )
    assert said == "GET https://***@host/a.tar?*** refused ***"
    assert len(words(OSError("x" * 999))) == 160
