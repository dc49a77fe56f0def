"""A WebSocket client by PyPI's `websockets`: opens each socket of the job, pings, says what it is to say and writes down what it hears."""

import asyncio

import websockets
from item import run


async def _use(job):
    try:
        socket = await websockets.connect(job["url"], additional_headers=job["headers"])
    except websockets.InvalidStatus as refused:
        return {"refused": refused.response.status_code}
    heard = []
    await (await socket.ping("there?"))
    for message in job["messages"]:
        await socket.send(message)
        answer = await asyncio.wait_for(socket.recv(), 10)
        heard.append(answer if isinstance(answer, str) else "binary")
    await socket.close(1000)
    return {"heard": heard, "pong": True, "code": socket.close_code}


async def _all(sockets):
    return [await _use(job) for job in sockets]


run(lambda job: asyncio.run(_all(job["sockets"])))
