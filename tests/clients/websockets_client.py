"""A WebSocket client made with the Python library websockets: websockets_client.py URL

It prints what happens as one JSON document a line, and takes the command
{"send": N}, which sends a message of N bytes, on standard input. It ends when
its input does.
"""

import asyncio
import json
import os
import sys
import threading

import websockets


def emit(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def obey(loop, ws):
    for line in sys.stdin:
        command = json.loads(line)
        asyncio.run_coroutine_threadsafe(ws.send("x" * command["send"]), loop)
    os._exit(0)


async def main(url):
    try:
        ws = await websockets.connect(url, max_size=None, ping_interval=None)
    except Exception as error:
        emit("error", error=repr(error))
        return
    emit("open", id=ws.response_headers.get("X-Yc-Apigateway-Websocket-Connection-Id", ""))
    threading.Thread(target=obey, args=(asyncio.get_running_loop(), ws), daemon=True).start()
    try:
        while True:
            data = await ws.recv()
            binary = isinstance(data, bytes)
            emit("message", binary=binary, data=data.decode("utf-8", "replace") if binary else data)
    except websockets.ConnectionClosed as closed:
        # 1006 is what RFC 6455, section 7.1.5, calls an end without a Close frame.
        emit("close", code=closed.rcvd.code if closed.rcvd else 1006, reason=closed.rcvd.reason if closed.rcvd else "")


asyncio.run(main(sys.argv[1]))
