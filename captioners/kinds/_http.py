"""Ask a server over HTTP, many requests at a time, each sent again while the failure is not its own.

Runs in a thread of its own, so that whoever waits can be interrupted, and closing drops what is under way.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx2

from captioners.core.errors import EngineLostError

T = TypeVar("T")

_BUSY = frozenset({408, 409, 425, 429})
_KEYS = frozenset({401, 403})
_LONGEST_PAUSE_S = 60.0


class RefusedError(Exception):
    """The server refused this very request (4xx), and would again; the message says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """A server of JSON; to be closed.

    Args:
        base_url: where its API begins. key_env: environment variable of the bearer's key, read for each request.
        timeout_s: of one request, from sending it to its answer's end. retries: how often one is sent again.
        backoff_s: pause before the first of them; each further one waits twice as long.
    """

    def __init__(
        self, base_url: str, *, key_env: str | None, timeout_s: float, retries: int, backoff_s: float, connections: int
    ) -> None:
        self._base_url, self._key_env = base_url, key_env
        self._timeout_s, self._retries, self._backoff_s = timeout_s, retries, backoff_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx2.AsyncClient(timeout=timeout_s, limits=limits)

    def ask(self, path: str, body: Any = None) -> "Future[Any]":
        """Send a POST with a JSON body, or a GET without one; the future holds the answer's JSON.

        It raises RefusedError, or EngineLostError after the last retry.
        """
        return self._run(self._asked(path, body))

    def close(self) -> None:
        """Drop what is under way."""
        if self._thread.is_alive():
            self._run(self._ended()).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _ended(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()

    async def _asked(self, path: str, body: Any) -> Any:
        tries = 0
        while True:
            pause: float | None = None
            try:
                async with asyncio.timeout(self._timeout_s):  # httpx's own is for each piece of an answer
                    answer = await self._client.request(
                        "GET" if body is None else "POST", f"{self._base_url}{path}", json=body, headers=self._headers()
                    )
                if answer.is_success:
                    return answer.json()
                said, pause = f"status {answer.status_code}, {_message(answer)}", _asked_pause(answer)
                if not (answer.is_server_error or answer.status_code in _BUSY | _KEYS):
                    raise RefusedError(answer.status_code, said)
            except (TimeoutError, httpx2.TimeoutException):
                said = f"no answer in {self._timeout_s:g} s"
            except httpx2.TransportError as error:
                said = f"no connection ({str(error) or type(error).__name__})"
            except ValueError:
                said = "an answer that is no JSON"
            if tries >= self._retries:
                key = " Is the key right?" if said.startswith(("status 401", "status 403")) else ""
                raise EngineLostError(
                    f"endpoint {self._base_url}: {said}, {tries + 1} times in a row.{key} What is stored stays: run "
                    "the same command again"
                )
            wait = min(self._backoff_s * 2**tries, _LONGEST_PAUSE_S)
            await asyncio.sleep(wait if pause is None else min(max(pause, wait), _LONGEST_PAUSE_S))
            tries += 1

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self._key_env, "") if self._key_env else ""
        return {"Authorization": f"Bearer {key}"} if key else {}


def _message(answer: httpx2.Response) -> str:
    """Return what the server says of its refusal, in one line; OpenAI and those like it have an `error`."""
    try:
        body = answer.json()
    except ValueError:
        body = answer.text
    found = body.get("error", body) if isinstance(body, dict) else body
    said = found.get("message", found) if isinstance(found, dict) else found
    return " ".join(str(said).split())[:300]


def _asked_pause(answer: httpx2.Response) -> float | None:
    """Return the seconds that the server asks to wait, if it says so in seconds."""
    try:
        return float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
