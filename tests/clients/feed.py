"""Follows a path with iotcast's client for Python: feed.py URL OPTIONS

It takes the same options and lines of input, and prints the same, as feed.mjs.
"""

import asyncio
import json
import os
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../resources/clients/python"))
sys.dont_write_bytecode = True

from iotcast_feed import ChoiceRefused, Connected, Feed, Gap, Lost, Message, Refused, Watching  # noqa: E402


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def follow(feed):
    async with feed:
        async for event in feed:
            match event:
                case Message():
                    emit("message", id=event.event_id, text=event.payload.decode())
                case Gap():
                    emit("gap", reason=event.reason, dropped=event.dropped)
                case Connected():
                    emit("open")
                case Lost():
                    emit("waiting", code=event.code, reason=str(event.error))
                case Watching():
                    emit("watching", text=" ".join(event.device_ids + event.topics))
                case ChoiceRefused():
                    emit("choice_refused", reason=event.message)


async def main(url, options):
    def token():
        with urllib.request.urlopen(options["tokenURL"]) as answer:
            return answer.read().decode()

    feed = Feed(
        url,
        token=token if "tokenURL" in options else None,
        min_wait=options["backoff"]["min"] / 1000,
        max_wait=options["backoff"]["max"] / 1000,
        heartbeat=options.get("heartbeat", 30_000) / 1000,
        payload_format=options.get("payload_format", "base64"),
        device_ids=options.get("device_ids", ()),
        topics=options.get("topics", ()),
    )
    following = asyncio.create_task(follow(feed))
    following.add_done_callback(ended)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while line := await stdin.readline():
        if line == b"close\n":
            following.cancel()
        else:
            await feed.choose(**json.loads(line))
    following.cancel()
    await asyncio.wait([following])


def ended(following):
    if following.cancelled():
        emit("closed")
    elif isinstance(error := following.exception(), Refused):
        emit("refused", code=error.status, reason=str(error))
    else:
        emit("error", text=repr(error))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
