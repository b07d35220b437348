"""The messages of an iotcast gateway's path: one WebSocket after another, as if
it were one that never breaks.

    async with Feed("wss://gateway.example/telemetry") as feed:
        async for event in feed:
            match event:
                case Message():
                    print(event.device_id, event.payload)
                case Gap():
                    print("messages are missing:", event.reason)

The loop goes on until it is left, its task is cancelled, or the gateway refuses
for good, which raises Refused.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Union
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import websockets
from websockets.exceptions import ConnectionClosed

__all__ = ["Feed", "Message", "Gap", "Connected", "Lost", "Watching", "ChoiceRefused", "Data", "Event", "Refused"]

_ATTEMPT = 20.0  # seconds for the token and the handshake
_PROVEN = 5.0  # seconds open, after which the next loss is a new one: until then the waits go on growing
_DENIALS = 5  # with 401 in a row, after which the tokens of a function are taken for no good
_SEEN = 1000  # event IDs kept, to know a message again
_EXPIRED = 4401

# websockets 14 has renamed the argument, Debian 12 has 10.4.
_HEADERS = "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"


class Refused(Exception):
    """The gateway has refused the connection, and would do so again."""

    def __init__(self, status: int, reason: str):
        hint = {
            400: "a parameter of the URL or of the options is wrong, or the path cannot do what it asks for",
            401: "give a token that is valid (token=)",
            403: "the token or the address of this client has no right to this path",
            404: "no gateway route has this path",
            _EXPIRED: "give a function that gets another token (token=)",
        }[status]
        super().__init__(f"refused with {status} ({reason}): {hint}" if reason else f"refused with {status}: {hint}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Message:
    """One message of a device."""

    event_id: str
    event_type: str
    created_at: str
    device_id: str
    registry_id: str
    broker_id: str
    topic: str
    details: Mapping[str, Any] = field(repr=False)  # as in the envelope
    is_json: bool = field(default=False, repr=False)

    @property
    def payload(self) -> bytes:
        """The bytes that the device sent; ValueError if it is not in base64, but the feed takes it to be.

        With payload_format="json" they are the JSON of the envelope, or the bytes that were no JSON.
        """
        if "payload_base64" in self.details:
            return base64.b64decode(self.details["payload_base64"], validate=True)
        payload = self.details.get("payload")
        if self.is_json:
            return json.dumps(payload, ensure_ascii=False).encode()
        if payload is None:
            return b""
        try:
            return base64.b64decode(payload, validate=True)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the payload of message {self.event_id} is not in base64"
                ' (if the trigger has payload_format: json, set payload_format="json")'
            ) from error

    def json(self) -> Any:
        """The payload as JSON; ValueError if it is none."""
        if self.is_json and "payload_base64" not in self.details:
            return self.details.get("payload")
        return json.loads(self.payload)


@dataclass(frozen=True)
class Gap:
    """Messages are missing here.

    reason is "history" (the path's history does not reach back to the last
    message that came), "slow_consumer" (this client read too slowly), or
    "no_event_id" (the connection was lost before a message came).
    """

    reason: str
    dropped: int = 0  # messages, for slow_consumer


@dataclass(frozen=True)
class Connected:
    """There is a connection."""


@dataclass(frozen=True)
class Lost:
    """There is no connection, or an attempt has failed."""

    error: Exception
    wait: float  # seconds until the next attempt
    code: int  # of the close; 1006 if there was no Close frame (RFC 6455, section 7.1.5)


@dataclass(frozen=True)
class Watching:
    """The choice that is in force from here on."""

    device_ids: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class ChoiceRefused:
    """The gateway did not take a choice. That before it stays in force."""

    code: str
    message: str


@dataclass(frozen=True)
class Data:
    """A message that is no envelope, such as an answer of the path's handlers."""

    data: str | bytes


Event = Union[Message, Gap, Connected, Lost, Watching, ChoiceRefused, Data]
Token = Union[str, Callable[[], Union[str, Awaitable[str]]]]


class Feed:
    """The messages of a path, an asynchronous iterator of events.

    url              of the path: ws:, wss:, http: or https:, with more parameters if need be
    token            for the header Authorization, or a function that returns one or is a coroutine; it is called
                     before each connection
    headers          more headers of the handshake
    device_ids, topics
                     whose messages come at first: those of these devices, and those whose topic one of these MQTT
                     filters covers; none: all. choose() changes it
    interval         seconds in which only the newest message of each device comes
    latest           begin with the newest value of each device
    rewind           seconds: begin with the messages of that time, if there is no event ID to go on behind
    heartbeat        seconds without a message, after which the gateway sends a sign of life. Once one has come, a
                     link on which nothing comes for 2.5 times as long is taken for dead; 0: none
    last_event_id    where to go on, from that of an earlier feed
    payload_format   "base64", or "json" if the trigger has payload_format: json
    min_wait, max_wait
                     seconds between attempts: a random time up to min_wait, doubled with each that failed, up to max_wait
    options          more arguments for websockets.connect, such as ssl
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        headers: Mapping[str, str] | None = None,
        device_ids: Iterable[str] = (),
        topics: Iterable[str] = (),
        interval: float = 0,
        latest: bool = True,
        rewind: float = 0,
        heartbeat: float = 30,
        last_event_id: str = "",
        payload_format: str = "base64",
        min_wait: float = 1,
        max_wait: float = 30,
        **options: Any,
    ):
        scheme, host, path, query, _ = urlsplit(url)
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
        if scheme not in ("ws", "wss") or not host:
            raise ValueError(f"{url!r} is no URL of a WebSocket: it begins with ws:// or wss://")
        if payload_format not in ("base64", "json"):
            raise ValueError(f'payload_format is {payload_format!r}: it is "base64" or "json"')
        for name, seconds in dict(interval=interval, rewind=rewind, heartbeat=heartbeat, min_wait=min_wait, max_wait=max_wait).items():
            if seconds < 0:
                raise ValueError(f"{name} is negative")
        self.last_event_id = last_event_id  # behind which the next connection goes on
        self._address = (scheme, host, path)
        self._query = parse_qsl(query, keep_blank_values=True)
        self._token = token
        self._headers = dict(headers or {})
        self._choice = self._granted = self._tried = _choice(device_ids, topics)  # the newest that was not refused, the
        # newest that was accepted, and that of the last attempt
        self._asked: list[dict[str, list[str]]] = []  # those that the connection was told and has not answered
        self._interval, self._latest, self._rewind, self._heartbeat = interval, latest, rewind, heartbeat
        self._is_json = payload_format == "json"
        self._min_wait, self._max_wait = min_wait, max_wait
        self._options = options
        self._seen: dict[str, None] = {}
        self._socket: Any = None
        self._events: AsyncIterator[Event] | None = None

    async def __aenter__(self) -> Feed:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        if self._events is None or self._events.ag_frame is None:  # type: ignore[attr-defined]  # it has ended
            self._events = self._run()
        return self._events

    async def close(self) -> None:
        """Ends the connection. Another loop goes on behind the last event."""
        events, self._events = self._events, None
        if events is not None:
            await events.aclose()  # type: ignore[attr-defined]

    async def choose(self, device_ids: Iterable[str] = (), topics: Iterable[str] = ()) -> None:
        """Changes whose messages come, without another connection. The answer is Watching or ChoiceRefused.

        After that the choice before is in force still. Without a connection the next one asks for this choice.
        """
        self._choice = _choice(device_ids, topics)
        try:
            await self._ask(self._socket)
        except ConnectionClosed:
            pass  # the next connection asks for it

    async def send(self, data: str) -> None:
        """Sends a text message to the path's handlers; ConnectionError if there is no connection."""
        if self._socket is None:
            raise ConnectionError("there is no connection now, and nothing was sent")
        await self._socket.send(data)

    async def _ask(self, socket: Any) -> None:
        if socket is not None:
            self._asked.append(self._choice)
            await socket.send(json.dumps({"watch": {name: values for name, values in self._choice.items() if values}}))

    async def _run(self) -> AsyncIterator[Event]:
        failed = denied = 0
        opened = False
        while True:
            began = refused = None
            try:
                socket = await asyncio.wait_for(self._connect(), _ATTEMPT)
                began, denied = time.monotonic(), 0
                try:
                    self._socket = socket
                    if self._choice != self._tried:  # chosen during the handshake
                        await self._ask(socket)
                    yield Connected()
                    if opened and not self.last_event_id:
                        yield Gap("no_event_id")
                    opened = True
                    beats = False  # a server that does not know the parameter never sends heartbeats
                    while True:
                        data = await self._receive(socket, beats)
                        envelope = _parse(data)
                        if envelope is None:
                            yield Data(data)
                            continue
                        beats = beats or not (envelope["messages"] or envelope.keys() & {"gap", "watch", "error"})
                        if envelope.get("watch") is not None or envelope.get("error"):
                            self._answered(not envelope.get("error"))
                        for event in _events(envelope):
                            yield event
                        for message in self._fresh(envelope["messages"], envelope.get("last_event_id")):
                            yield message
                finally:
                    self._socket = None
                    await socket.close()
            except (OSError, asyncio.TimeoutError, EOFError, websockets.WebSocketException, _TokenFailed) as error:
                if began is not None and time.monotonic() - began >= _PROVEN:
                    failed = 0
                status = _status(error)
                if status == 401:
                    denied += 1
                if status == 400 and self._tried != self._granted:  # what was chosen meanwhile may be what is wrong
                    self._give_up(self._tried)
                    refused = ChoiceRefused("watch", _reason(error) or "refused with 400")
                final = status in (403, 404) or status == 400 and not refused or status == 401 and (not callable(self._token) or denied >= _DENIALS)
                if final or _code(error) == _EXPIRED and not callable(self._token):
                    raise Refused(status or _EXPIRED, _reason(error)) from error
                # Full jitter: many clients that lost the same server come back one by one.
                wait = random.random() * min(self._max_wait, self._min_wait * 2 ** min(failed, 20))
                failed += 1
                lost = Lost(error, wait, _code(error))
            if refused:
                yield refused
            yield lost
            await asyncio.sleep(lost.wait)

    def _answered(self, accepted: bool) -> None:
        """Takes the gateway's answer to the first of the choices that wait for one."""
        if not self._asked:
            return
        first = self._asked.pop(0)
        if accepted:
            self._granted = first
        else:
            self._give_up(first)

    def _give_up(self, choice: dict[str, list[str]]) -> None:
        if self._choice == choice:
            self._choice = self._granted

    async def _connect(self) -> Any:
        headers = dict(self._headers)
        token = self._token
        if callable(token):
            try:
                token = token()
                if inspect.isawaitable(token):
                    token = await token
            except Exception as error:
                raise _TokenFailed(f"getting a token: {error!r}") from error
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._tried = self._choice
        url = self._url()
        options = {"max_size": None, "open_timeout": None, "close_timeout": 5, _HEADERS: headers, **self._options}
        socket = await websockets.connect(url, **options)
        self._granted = self._tried
        # A choice in the URL is answered, too.
        self._asked = [self._tried] if {"device_id", "topic"} & {name for name, _ in parse_qsl(urlsplit(url).query)} else []
        return socket

    def _url(self) -> str:
        query = list(self._query)
        query += [("device_id", value) for value in self._choice["device_ids"]]
        query += [("topic", value) for value in self._choice["topics"]]
        if self._interval:
            query.append(("interval", _duration(self._interval)))
        if not self._latest:
            query.append(("latest", "false"))
        if self._heartbeat:
            query.append(("heartbeat", _duration(self._heartbeat)))
        if self.last_event_id:
            query.append(("last_event_id", self.last_event_id))
        elif self._rewind:
            query.append(("rewind", _duration(self._rewind)))
        return urlunsplit((*self._address, urlencode(query), ""))

    async def _receive(self, socket: Any, beats: bool) -> str | bytes:
        if not beats:
            return await socket.recv()
        silence = self._heartbeat * 2.5
        try:
            return await asyncio.wait_for(socket.recv(), silence)
        except asyncio.TimeoutError:
            socket.transport.abort()  # a goodbye would wait for an answer
            raise TimeoutError(f"nothing came for {silence:g} s, the link is taken for dead") from None

    def _fresh(self, messages: list[dict[str, Any]], position: Any) -> Iterable[Message]:
        """The messages that were not seen before.

        The server resumes behind a whole envelope: nothing of it counts as seen before its last message. Behind last
        values, which may be old, it says the position.
        """
        fresh = [m for m in messages if _id(m) not in self._seen]
        position = position if isinstance(position, str) else ""
        if not fresh:
            self.last_event_id = position or self.last_event_id
        for i, message in enumerate(fresh):
            if i + 1 == len(fresh):
                self.last_event_id = position or _id(messages[-1]) or self.last_event_id
            event_id = _id(message)
            if event_id in self._seen:  # twice in this envelope
                continue
            if event_id:
                self._seen[event_id] = None
                if len(self._seen) > _SEEN:
                    del self._seen[next(iter(self._seen))]
            yield _message(message, self._is_json)


class _TokenFailed(Exception):
    """The function for tokens has failed: it may succeed the next time."""


def _choice(device_ids: Iterable[str], topics: Iterable[str]) -> dict[str, list[str]]:
    if isinstance(device_ids, str) or isinstance(topics, str):
        raise TypeError("device_ids and topics are lists")
    return {"device_ids": list(device_ids), "topics": list(topics)}


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _parse(data: str | bytes) -> dict[str, Any] | None:
    """None for what is no envelope."""
    try:
        envelope = json.loads(data)
    except ValueError:
        return None
    if not isinstance(envelope, dict):
        return None
    messages = envelope.get("messages")
    return envelope if isinstance(messages, list) and all(isinstance(m, dict) for m in messages) else None


def _events(envelope: Mapping[str, Any]) -> Iterable[Event]:
    """What stands before the messages."""
    if gap := envelope.get("gap"):
        yield Gap(gap.get("reason", ""), gap.get("dropped", 0))
    if (watch := envelope.get("watch")) is not None:
        yield Watching(tuple(watch.get("device_ids") or ()), tuple(watch.get("topics") or ()))
    if error := envelope.get("error"):
        yield ChoiceRefused(error.get("code", ""), error.get("message", ""))


def _id(message: Mapping[str, Any]) -> str:
    return (message.get("event_metadata") or {}).get("event_id") or ""


def _message(message: Mapping[str, Any], is_json: bool) -> Message:
    metadata, details = message.get("event_metadata") or {}, message.get("details") or {}
    return Message(
        *(metadata.get(name, "") for name in ("event_id", "event_type", "created_at")),
        *(details.get(name, "") for name in ("device_id", "registry_id", "broker_id", "mqtt_topic")),
        details,
        is_json,
    )


def _status(error: Exception) -> int:
    """The HTTP status of a handshake that was refused, or 0. Releases of websockets have it in different places."""
    return getattr(error, "status_code", 0) or getattr(getattr(error, "response", None), "status_code", 0)


def _code(error: Exception) -> int:
    received = getattr(error, "rcvd", None)
    return received.code if received else 1006


def _reason(error: Exception) -> str:
    if _code(error) == _EXPIRED:
        return "the token has expired"
    body = getattr(getattr(error, "response", None), "body", None) or b""
    return body[:200].decode(errors="replace").strip()
