"""What looks like a password, key or token, so that none is ever stored in a recipe or printed."""

import re
from collections.abc import Iterator
from typing import Any

from captioners.core.yaml_lines import Key

_NAMES = re.compile(r"(^|_)(password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?)$")
# Each begins as its issuer documents; the lengths keep ordinary words and file names out.
_VALUES = re.compile(
    r"""
      (?<![A-Za-z0-9-]) sk-[A-Za-z0-9_-]*[A-Za-z0-9_]{16,}   # OpenAI, Anthropic and compatible endpoints
    | \b hf_[A-Za-z0-9]{16,}                    # Hugging Face
    | \b (AKIA|ASIA)[0-9A-Z]{16} \b             # AWS access key id
    | \b gh[pousr]_[A-Za-z0-9]{20,} | \b github_pat_[A-Za-z0-9_]{20,} | \b glpat-[A-Za-z0-9_-]{16,}
    | \b xox[abeprs]-[A-Za-z0-9-]{10,}          # Slack
    | \b AIza[0-9A-Za-z_-]{30,}                 # Google
    | \b eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.   # JSON web token
    | -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY
    | ^ (Bearer|Basic)\ [A-Za-z0-9+/=._-]{12,}
    | ^ [a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@   # user:password in an address
    | [?&](X-Amz-Signature|X-Goog-Signature|sig|Signature)=[A-Za-z0-9%+/=_-]{16,}   # a presigned address
    """,
    re.VERBOSE,
)

ADVICE = "looks like a secret and was not read; name an environment variable instead (as in api_key_env: MY_KEY)"


def find_secrets(value: Any, at: Key = ()) -> Iterator[tuple[Key, str]]:
    """Yield (where, the secret) for every text in nested data that looks like one, by its form or by its key's name.

    `max_tokens` and `api_key_env` are no secrets: the first counts, the second names where the secret is.

    >>> [key for key, _ in find_secrets({"api_key": "abc", "api_key_env": "OPENAI_KEY", "max_tokens": 30})]
    [('api_key',)]
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from find_secrets(item, (*at, key))
            if _VALUES.search(key):
                yield (*at, "a key"), key
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_secrets(item, (*at, index))
    elif isinstance(value, str | int) and not isinstance(value, bool) and str(value):
        text = str(value)
        named = any(isinstance(part, str) and _NAMES.search(part.lower().replace("-", "_")) for part in at[-1:])
        if (named and isinstance(value, str)) or _VALUES.search(text):
            yield at, text


def redacted(text: str) -> str:
    """Return a message without what looks like a secret, and addresses in it without users, passwords and queries.

    >>> redacted("https://me:pass@host/0.tar?X-Amz-Signature=abc: refused")
    'https://***@host/0.tar?***: refused'
    """
    text = _LOGIN.sub(r"\1***@", text)
    text = _QUERY.sub(r"\1?***", text)
    return _VALUES.sub("***", text)


_LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s@]+@")
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?'\"]+)\?[^\s:'\",)]+")
