"""Questions to a provider, asked again when the answer is lost: reading changes nothing there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp
import orjson

from tidings.errors import DefinitionError, TidingsError

# A page of a thousand texts is about a megabyte.
LARGEST_PAGE = 32 * 1024 * 1024
_TRIES = 4
_LONGEST_WAIT = 60.0


class NotAvailable(TidingsError):
    """The account may not ask this: an add-on that was not bought, or a key without the permission."""


class Lookup:
    """GET requests to one provider's API; ``wait`` is the first pause in seconds after a refusal for now."""

    def __init__(self, base_url: str, headers: Mapping[str, str], *, wait: float = 2.0) -> None:
        self._base = base_url.rstrip("/")
        self._headers = {"Accept": "application/json", **headers}
        self._wait = wait
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Lookup:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30, connect=5))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Any:
        """Return the answer's JSON.

        Raises NotAvailable for 401, 403 and 404, and DefinitionError when there is no usable answer after several
        tries; neither names an address or the query.
        """
        told = "no answer"
        for attempt in range(_TRIES):
            try:
                status, told, body, pause = await self._ask(path, query)
            except (aiohttp.ClientError, OSError, TimeoutError) as lost:
                told, pause = type(lost).__name__, None
            else:
                if status == 200 and body is not None:
                    return body
                if status in (401, 403, 404):
                    raise NotAvailable(f"{path}: the provider answered {status}")
                if 400 <= status < 500 and status not in (408, 429):
                    break
            if attempt < _TRIES - 1:
                await asyncio.sleep(min(pause if pause is not None else self._wait * 2**attempt, _LONGEST_WAIT))
        raise DefinitionError(f"{path}: must be answered by the provider; found {told}")

    async def _ask(self, path: str, query: Mapping[str, str | int] | None) -> tuple[int, str, Any, float | None]:
        assert self._session is not None, "a look-up is a context manager"
        async with self._session.get(self._base + path, params=query, headers=self._headers) as answer:
            raw = await answer.content.read(LARGEST_PAGE)
            asked = answer.headers.get("Retry-After", "")
            try:
                body = orjson.loads(raw)
            except ValueError:
                body = None
            return answer.status, f"{answer.status}", body, float(asked) if asked.isdigit() else None
