"""A connection to Myriad's HTTP API: requests, answers, streams.

Everything foreign that can go wrong (httpx, JSON, the server's refusals) becomes one of this
package's errors here and nowhere else.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from deploy.errors import InvalidSetting, ServerRefused, ServerUnreachable
from router.loopback import is_loopback

Json = dict[str, Any]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0


class Connection:
    """To the server at `url`; to be closed, or used in a `with`.

    Every request raises ServerUnreachable when nobody answers and ServerRefused when the server
    answers with an error.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        address = _address(url)
        self.url = str(address).rstrip("/")
        self.key: str | None = None
        self._http = httpx.Client(
            base_url=address,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            # Reading the certificates takes longer than most answers.
            verify=address.scheme == "https",
            # A proxy from the environment cannot reach this machine's own loopback.
            trust_env=not is_loopback(address.host),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def use_key(self, key: str | None) -> None:
        """Send an API key from now on; None sends none.

        Raises:
            InvalidSetting: it is no key.
        """
        if key is None:
            return
        if not key.isascii() or not key.isprintable():
            raise InvalidSetting("that is no API key: it begins with mk_, in one line")
        self._http.headers["authorization"] = f"Bearer {key}"
        self.key = key

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _object(self, method: str, path: str, **options: Any) -> Json:
        return self._parsed(self._answer(method, path, **options))

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._translated():
            response = self._http.request(method, path, **options)
        if not response.is_success:
            raise self._refusal(response)
        return response

    @contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """An answer that is read as it comes."""
        with self._translated(), self._http.stream(method, path, **options) as response:
            if not response.is_success:
                response.read()
                raise self._refusal(response)
            yield response

    def _parsed(self, response: httpx.Response) -> Json:
        return self._read(response.content, response.status_code)

    def _read(self, content: bytes, status: int) -> Json:
        try:
            found = json.loads(content)
        except ValueError:
            raise self._misread(status) from None
        if not isinstance(found, dict):
            raise self._misread(status)
        return found

    def _chunks(self, response: httpx.Response) -> Iterator[Json]:
        for data in _events(response.iter_bytes()):
            if data == b"[DONE]":
                return
            chunk = self._read(data, response.status_code)
            if "error" in chunk:
                raise self._refused(httpx.codes.INTERNAL_SERVER_ERROR, chunk)
            yield chunk
        raise ServerUnreachable(f"{self.url} broke the answer off: see `myriad status`")

    def _refusal(self, response: httpx.Response) -> ServerRefused:
        return self._refused(response.status_code, self._parsed(response))

    def _refused(self, status: int, body: Json) -> ServerRefused:
        match body:
            case {"error": {"message": str(message), **rest}}:
                code = rest.get("code")
                return ServerRefused(status, message, None if code is None else str(code))
        return self._misread(status)

    def _misread(self, status: int) -> ServerRefused:
        return ServerRefused(
            status,
            f"{self.url} answered {status}, but not as Myriad does: is another program there? "
            "Set MYRIAD_URL to Myriad's address",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnreachable(
                f"nothing answers at {self.url}: start it with `myriad up`, or set MYRIAD_URL"
            ) from error
        except httpx.TimeoutException as error:
            raise ServerUnreachable(
                f"{self.url} did not answer in time: see `myriad status`"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ServerUnreachable(
                f"the connection to {self.url} broke off ({type(error).__name__}): "
                "see `myriad status`"
            ) from error


def _events(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The data of server-sent events, one line each, from a stream cut anywhere.

    https://html.spec.whatwg.org/multipage/server-sent-events.html. Lines are cut as bytes: cut as
    text they would also end at U+2028 and the like, which JSON may hold.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise InvalidSetting(
            f"{url!r} is not a server's address: write it like http://127.0.0.1:8000"
        )
    return address
