"""Publishes pictures that an encoder has written to a file, through a real DTLS and SRTP: `pictures.py URL TOKEN VP8|H264 FILE OPTIONS`.

VP8 is an IVF file, H.264 Annex B; each begins with a keyframe and is sent again and again, 25 pictures a second. OPTIONS is JSON:
`orientation` is a list of [seconds, byte]: from then on the last packet of each picture says so (3GPP TS 26.114 §7.4.5);
`sets` are the parameter sets of H.264: "stream" (in it), "early" (in its first second only), "description" (sprop-parameter-sets
only), "none". Says `sent` each second, and ends with standard input.
"""

import asyncio
import base64
import json
import re
import struct
import sys
import threading
import urllib.request
from urllib.parse import urljoin

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

url, token, codec, path = sys.argv[1:5]
options = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
EXTENSION, PIECE = 12, 1100
ended = threading.Event()


def ivf(data):
    frames, at = [], 32
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frames.append(data[at + 12 : at + 12 + size])
        at += 12 + size
    return frames


def units(data):
    return [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", data) if unit.rstrip(b"\0")]


def pictures(data):
    """Of each picture its NAL units; sets belong to the picture behind them."""
    found, before = [], []
    for unit in units(data):
        before.append(unit)
        if unit[0] & 0x1F in (1, 5):
            found.append(before)
            before = []
    return found


def vp8(frame):
    pieces = [frame[at : at + PIECE] for at in range(0, len(frame), PIECE)]
    return [(b"\x10" if place == 0 else b"\x00") + piece for place, piece in enumerate(pieces)]


def h264(unit):
    if len(unit) <= PIECE:
        return [unit]
    pieces = [unit[at : at + PIECE] for at in range(1, len(unit), PIECE)]
    head = lambda place: (0x80 if place == 0 else 0) | (0x40 if place == len(pieces) - 1 else 0) | unit[0] & 0x1F
    return [bytes([unit[0] & 0xE0 | 28, head(place)]) + piece for place, piece in enumerate(pieces)]


def ask(method, url, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(url, body and body.encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read().decode()


async def main():
    data = open(path, "rb").read()
    frames = ivf(data) if codec == "VP8" else pictures(data)
    sets = [unit for unit in units(data) if unit[0] & 0x1F in (7, 8)][:2] if codec == "H264" else []
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video", direction="sendonly").sender
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    number = re.search(r"a=rtpmap:(\d+) VP8/90000", offer)[1]
    offer = re.sub(r"(m=video \d+ \S+) .*", rf"\1 {number}", offer)
    offer = re.sub(rf"a=(rtpmap|fmtp|rtcp-fb):(?!{number} ).*\r\n", "", offer)
    named = f"a=extmap:{EXTENSION} urn:3gpp:video-orientation\r\na=rtpmap:{number} {codec}/90000\r\n"
    if codec == "H264":
        named += f"a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c00d"
        if options.get("sets") == "description":
            named += ";sprop-parameter-sets=" + ",".join(base64.b64encode(it).decode() for it in sets)
        named += "\r\n"
    headers, answer = await asyncio.to_thread(ask, "POST", url, offer.replace(f"a=rtpmap:{number} VP8/90000\r\n", named))
    answer = re.sub(r"a=fmtp:.*\r\n", "", answer.replace(f" {codec}/90000", " VP8/90000"))
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    while peer.connectionState != "connected":
        await asyncio.sleep(0.05)  # paces looks: the test that started this has the deadline

    asyncio.get_running_loop().run_in_executor(None, lambda: (sys.stdin.read(), ended.set()))
    sequence, count, begun = 1000, 0, asyncio.get_running_loop().time()
    while not ended.is_set():
        frame, seconds = frames[count % len(frames)], count / 25
        if codec == "H264":
            keep = options.get("sets", "stream")
            with_sets = keep == "stream" or keep == "early" and seconds < 1
            kept = [unit for unit in frame if with_sets or unit[0] & 0x1F not in (7, 8)]
            payloads = [payload for unit in kept for payload in h264(unit)]
        else:
            payloads = vp8(frame)
        said = [byte for since, byte in options.get("orientation", []) if since <= seconds]
        for place, payload in enumerate(payloads):
            sequence += 1
            last = place == len(payloads) - 1
            turned = said[-1] if said and last else None
            first = 0x80 if turned is None else 0x90
            head = struct.pack("!BBHII", first, int(number) | (0x80 if last else 0), sequence & 0xFFFF, count * 3600, sender._ssrc)
            if turned is not None:
                # RFC 8285 §4.2.
                head += struct.pack("!HHBBH", 0xBEDE, 1, EXTENSION << 4, turned, 0)
            await sender.transport._send_rtp(head + payload)
        count += 1
        if count % 25 == 0:
            print(json.dumps({"event": "sent", "count": count}), flush=True)
        await asyncio.sleep(max(0, begun + count / 25 - asyncio.get_running_loop().time()))  # paces media: 25 pictures a second
    await asyncio.to_thread(ask, "DELETE", urljoin(url, headers["Location"]))
    await peer.close()


asyncio.run(main())
