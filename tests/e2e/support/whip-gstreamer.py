"""Publishes into a room by WHIP or receives one by WHEP with GStreamer's webrtcbin.

    whip-gstreamer.py publish|view URL TOKEN CODEC    CODEC is vp8, vp9 or h264

What happens goes out as lines of JSON; the end of standard input ends the session.
"""

import json
import sys
import threading
import urllib.error
import urllib.request
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

ENCODERS = {
    "vp8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp8pay picture-id-mode=15-bit",
    "vp9": "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp9pay picture-id-mode=15-bit",
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay config-interval=-1 aggregate-mode=zero-latency",
}
DEPAYLOADERS = {
    "VP8": "rtpvp8depay ! vp8dec",
    "VP9": "rtpvp9depay ! vp9dec",
    "H264": "rtph264depay ! h264parse ! avdec_h264",
    "OPUS": "rtpopusdepay ! opusdec",
}


def event(name, **data):
    print(json.dumps({"event": name, **data}), flush=True)


def ask(method, url, token, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    request = urllib.request.Request(url, body and body.encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.headers, answer.read().decode()
    except urllib.error.HTTPError as refused:
        sys.exit(f"{method} {url}: {refused.code} {refused.read().decode()}")


class Client:
    def __init__(self, kind, url, token, codec):
        self.kind, self.url, self.token, self.codec = kind, url, token, codec
        self.session = None
        self.loop = GLib.MainLoop()
        self.pipeline = self.publisher() if kind == "publish" else self.viewer()
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("notify::connection-state", self.state)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("on-negotiation-needed", self.negotiate)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.failed)

    def publisher(self):
        codec = self.codec.upper()
        return Gst.parse_launch(f"""
            webrtcbin name=peer bundle-policy=max-bundle
            videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1,format=I420
              ! {ENCODERS[self.codec]} ! application/x-rtp,media=video,encoding-name={codec},payload=96 ! peer.
            audiotestsrc is-live=true ! opusenc ! rtpopuspay ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer.
        """)

    def viewer(self):
        pipeline = Gst.Pipeline.new()
        peer = Gst.ElementFactory.make("webrtcbin", "peer")
        peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        pipeline.add(peer)
        codec = self.codec.upper()
        h264 = ",packetization-mode=(string)1,profile-level-id=(string)42e01f" if codec == "H264" else ""
        for caps in (
            "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2",
            f"application/x-rtp,media=video,encoding-name={codec},payload=96,clock-rate=90000,rtcp-fb-nack-pli=true{h264}",
        ):
            peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(caps))
        peer.connect("pad-added", self.arrived)
        return pipeline

    def arrived(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        fields = pad.get_current_caps().get_structure(0)
        kind, name = fields.get_string("media"), fields.get_string("encoding-name")
        tail = Gst.parse_bin_from_description(f"queue ! {DEPAYLOADERS[name]} ! fakesink name=end sync=false signal-handoffs=true", True)
        count = [0]

        def handoff(_, __, sink):
            count[0] += 1
            if count[0] % 10 == 0:
                found, width = sink.get_current_caps().get_structure(0).get_int("width")
                event("frames", kind=kind, codec=f"{kind}/{name}", count=count[0], **({"width": width} if found else {}))

        tail.get_by_name("end").connect("handoff", handoff)
        self.pipeline.add(tail)
        tail.sync_state_with_parent()
        pad.link(tail.get_static_pad("sink"))

    def state(self, peer, _):
        event("state", state=peer.get_property("connection-state").value_nick)

    def failed(self, _, message):
        sys.stderr.write(f"{message.parse_error()}\n")
        self.loop.quit()

    def negotiate(self, peer):
        def made(promise, _):
            # Kept: what the reply holds goes with it.
            reply = promise.get_reply()
            offer = reply.get_value("offer")
            peer.emit("set-local-description", offer, Gst.Promise.new())

        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(made, None))

    def gathered(self, peer, _):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE and self.session is None:
            self.session = ""
            # The signal comes in a thread that GStreamer needs.
            GLib.idle_add(self.post)

    def post(self):
        offer = self.peer.get_property("local-description").sdp.as_text()
        event("offer", sdp=offer)
        headers, answer = ask("POST", self.url, self.token, offer)
        event("answer", sdp=answer)
        self.session = urljoin(self.url, headers["Location"])
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def run(self):
        def until_end():
            sys.stdin.read()
            GLib.idle_add(self.loop.quit)

        threading.Thread(target=until_end, daemon=True).start()
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.session:
            ask("DELETE", self.session, self.token)
        self.pipeline.set_state(Gst.State.NULL)
        event("ended")


Gst.init(None)
Client(*sys.argv[1:5]).run()
