"""Publishes into a room by WHIP or receives one by WHEP with aiortc: `whip.py publish|view URL TOKEN`.

What happens goes out as lines of JSON; the end of standard input ends the session.
"""

import asyncio
import json
import sys
import urllib.request
from urllib.parse import urljoin

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

kind, url, token = sys.argv[1:4]


def tell(event, **data):
    print(json.dumps({"event": event, **data}), flush=True)


def ask(method, url, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(url, body and body.encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read().decode()


async def count(track):
    received = 0
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        received += 1
        if received % 10 == 0:
            size = {"width": frame.width} if track.kind == "video" else {}
            tell("frames", kind=track.kind, count=received, **size)


async def main():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.on("connectionstatechange", lambda: tell("state", state=peer.connectionState))
    peer.on("track", lambda track: asyncio.ensure_future(count(track)))
    if kind == "publish":
        peer.addTrack(AudioStreamTrack())
        peer.addTrack(VideoStreamTrack())
    else:
        peer.addTransceiver("audio", direction="recvonly")
        peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers, answer = await asyncio.to_thread(ask, "POST", url, peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.to_thread(ask, "DELETE", urljoin(url, headers["Location"]))
    await peer.close()
    tell("ended")


asyncio.run(main())
