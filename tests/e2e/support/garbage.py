"""Publishes a track of a codec whose payloads are broken, through a real DTLS and SRTP: `garbage.py URL TOKEN CODEC`.

The offer names the codec; the packets that are sent are sealed by aiortc and made here. Says `sent` and their number, and stays until
the end of standard input.
"""

import asyncio
import json
import random
import re
import struct
import sys
import urllib.request
from urllib.parse import urljoin

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

url, token, codec = sys.argv[1:4]
# A keyframe that a recorder begins with, and payloads that are worth cutting at every byte.
WHOLE = {
    "VP8": ["10009d012a400140010000", "90e0923407601000009d012a4001f000"],
    "VP9": ["8c8001834983420013f00ef6" + 16 * "00", "bc92340010182801405a000000aa", "ff9234e0ff18f0ff"],
    "H264": ["1800076742000af841a2000468ce388000056588843a24", "67420020e9", "7c858884", "18000000", "1c", "78ffff67"],
    "AV1": ["180a0b0000000406", "1006", "1004", "080a0b00000004", "30030a0b00", "f0ffffffff7f0a", "3882800a"],
}


def payloads():
    whole = [bytes.fromhex(text) for text in WHOLE[codec]]
    for payload in whole:
        for length in range(len(payload) + 1):
            yield payload[:length]
    chance = random.Random(84)
    for _ in range(1000):
        payload = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 4)):
            payload[chance.randrange(len(payload))] = chance.randrange(256)
        yield bytes(payload[: chance.randint(0, len(payload))])


def ask(method, url, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(url, body and body.encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read().decode()


async def main():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video", direction="sendonly").sender
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    number = re.search(r"a=rtpmap:(\d+) VP8/90000", offer)[1]
    # Of all codecs one is left, under the name of another.
    offer = re.sub(r"(m=video \d+ \S+) .*", rf"\1 {number}", offer)
    offer = re.sub(rf"a=(rtpmap|fmtp|rtcp-fb):(?!{number} ).*\r\n", "", offer)
    named = f"a=rtpmap:{number} {codec}/90000\r\n"
    if codec == "H264":
        named += f"a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n"
    headers, answer = await asyncio.to_thread(ask, "POST", url, offer.replace(f"a=rtpmap:{number} VP8/90000\r\n", named))
    answer = re.sub(r"a=fmtp:.*\r\n", "", answer.replace(f" {codec}/90000", " VP8/90000"))
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    while peer.connectionState != "connected":
        await asyncio.sleep(0.05)  # paces looks: the test that started this has the deadline
    keyframe, sequence = bytes.fromhex(WHOLE[codec][0]), 1000
    begun = asyncio.get_running_loop().time()
    for count, payload in enumerate(payloads()):
        for sent in (keyframe, payload):
            sequence += 1
            # RFC 3550 §5.1; every third is the last of its picture.
            head = struct.pack("!BBHII", 0x80, int(number) | (0x80 if sequence % 3 else 0), sequence & 0xFFFF, sequence // 2 * 90, sender._ssrc)
            await sender.transport._send_rtp(head + sent)
        if count % 20 == 0:
            await asyncio.sleep(0.02)  # paces media: 40 packets in 20 ms
    print(json.dumps({"event": "sent", "count": sequence - 1000, "seconds": asyncio.get_running_loop().time() - begun}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.to_thread(ask, "DELETE", urljoin(url, headers["Location"]))
    await peer.close()


asyncio.run(main())
