"""One room of python-socketio on aiohttp for the bench: everybody joins it on connect."""
import socket
import sys

import socketio
from aiohttp import web

ROOM = "-noroom" not in sys.argv
sio = socketio.AsyncServer(async_mode="aiohttp")


@sio.event
async def connect(sid, environ, auth=None):
    if ROOM:
        sio.enter_room(sid, "bench")


@sio.on("msg")
async def msg(sid, text):
    await sio.emit("msg", text, room="bench")


def main():
    addr = sys.argv[sys.argv.index("-addr") + 1] if "-addr" in sys.argv else "127.0.0.1:0"
    host, port = addr.rsplit(":", 1)
    sock = socket.create_server((host, int(port)), backlog=1024)
    print("listening %s:%d" % sock.getsockname(), flush=True)
    app = web.Application()
    sio.attach(app)
    web.run_app(app, sock=sock, print=None, access_log=None)


main()
