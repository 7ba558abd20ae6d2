// Publishes a file by WHIP, or receives a room by WHEP, with pion as it comes: its own offer, codecs and interceptors.
//
//	pion publish URL TOKEN FILE   FILE is an IVF of VP8, VP9 or AV1, or H.264 in Annex B with access unit delimiters
//	pion view    URL TOKEN FOLDER each received track of video becomes a file in FOLDER
//
// What happens goes out as lines of JSON; the end of standard input ends the session.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/h264writer"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
)

// The pace at which files are sent.
const pace = time.Second / 15

type fields map[string]any

var out sync.Mutex

func event(name string, with fields) {
	line := fields{"event": name}
	for key, value := range with {
		line[key] = value
	}
	text, _ := json.Marshal(line)
	out.Lock()
	defer out.Unlock()
	fmt.Println(string(text))
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "pion publish|view URL TOKEN FILE|FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kind, at, token, path string) error {
	// The servers of the tests are on the loopback interface; all else is as pion has it.
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	peer, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) { event("state", fields{"state": state.String()}) })
	start := func() error { return nil }
	if kind == "publish" {
		start, err = publish(peer, path)
	} else {
		err = view(peer, path)
	}
	if err != nil {
		return err
	}
	session, err := negotiate(peer, at, token)
	if err != nil {
		return err
	}
	if err := start(); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	_, _, err = ask(http.MethodDelete, session, token, "")
	_ = peer.Close()
	event("ended", nil)
	return err
}

func negotiate(peer *webrtc.PeerConnection, at, token string) (string, error) {
	offer, err := peer.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err := peer.SetLocalDescription(offer); err != nil {
		return "", err
	}
	<-gathered
	location, answer, err := ask(http.MethodPost, at, token, peer.LocalDescription().SDP)
	if err != nil {
		return "", err
	}
	event("answer", fields{"sdp": answer})
	return location, peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

func ask(method, at, token, body string) (location, answer string, err error) {
	request, err := http.NewRequest(method, at, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/sdp")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", "", err
	}
	if response.StatusCode >= 300 {
		return "", "", fmt.Errorf("%s %s: %d %s", method, at, response.StatusCode, text)
	}
	if named := response.Header.Get("Location"); named != "" {
		base, err := url.Parse(at)
		if err != nil {
			return "", "", err
		}
		full, err := base.Parse(named)
		if err != nil {
			return "", "", err
		}
		location = full.String()
	}
	return location, string(text), nil
}

// publish adds a track of the file's codec to the connection; what it gives sends the file over and over.
func publish(peer *webrtc.PeerConnection, path string) (func() error, error) {
	mime, pictures, err := load(path)
	if err != nil {
		return nil, err
	}
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000}, "video", "pion")
	if err != nil {
		return nil, err
	}
	sender, err := peer.AddTrack(track)
	if err != nil {
		return nil, err
	}
	go requests(sender)
	return func() error {
		go func() {
			ticks := time.NewTicker(pace)
			for n := 0; ; n++ {
				<-ticks.C
				if err := track.WriteSample(media.Sample{Data: pictures[n%len(pictures)], Duration: pace}); err != nil {
					event("error", fields{"error": err.Error()})
					return
				}
			}
		}()
		return nil
	}, nil
}

// requests reports what keyframe requests come, and lets the interceptors see the rest.
func requests(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication:
				event("keyframe-request", fields{"by": "PLI"})
			case *rtcp.FullIntraRequest:
				event("keyframe-request", fields{"by": "FIR"})
			}
		}
	}
}

// load gives the pictures of a file, each as it goes into one sample.
func load(path string) (mime string, pictures [][]byte, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	if filepath.Ext(path) == ".h264" {
		pictures, err = accessUnits(content)
		return webrtc.MimeTypeH264, pictures, err
	}
	reader, header, err := ivfreader.NewWith(bytes.NewReader(content))
	if err != nil {
		return "", nil, err
	}
	mimes := map[string]string{"VP80": webrtc.MimeTypeVP8, "VP90": webrtc.MimeTypeVP9, "AV01": webrtc.MimeTypeAV1}
	for {
		picture, _, err := reader.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return mimes[header.FourCC], pictures, nil
		}
		if err != nil {
			return "", nil, err
		}
		pictures = append(pictures, picture)
	}
}

// accessUnits cuts a stream of H.264 at its access unit delimiters.
func accessUnits(content []byte) ([][]byte, error) {
	reader, err := h264reader.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var units [][]byte
	for {
		nal, err := reader.NextNAL()
		if errors.Is(err, io.EOF) {
			return units, nil
		}
		if err != nil {
			return nil, err
		}
		if nal.UnitType == h264reader.NalUnitTypeAUD {
			units = append(units, nil)
			continue
		}
		if len(units) == 0 {
			return nil, errors.New("the stream does not begin with an access unit delimiter")
		}
		last := len(units) - 1
		units[last] = append(append(units[last], 0, 0, 0, 1), nal.Data...)
	}
}

func view(peer *webrtc.PeerConnection, folder string) error {
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		direction := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := peer.AddTransceiverFromKind(kind, direction); err != nil {
			return err
		}
	}
	peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			go askForKeyframes(peer, track)
		}
		if err := receive(track, folder); err != nil && !errors.Is(err, io.EOF) {
			event("error", fields{"error": err.Error()})
		}
	})
	return nil
}

// askForKeyframes asks once a second until the first one has come: packets of the beginning may be lost.
func askForKeyframes(peer *webrtc.PeerConnection, track *webrtc.TrackRemote) {
	for range 5 {
		_ = peer.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
		time.Sleep(time.Second)
	}
}

type sink interface{ WriteRTP(*rtp.Packet) error }

// writer is where packets of this codec go; nil where only their number counts. Each codec of a track has a file of its own.
func writer(folder, mime string) (sink, error) {
	name := filepath.Join(folder, strings.ToLower(strings.TrimPrefix(mime, "video/")))
	switch mime {
	case webrtc.MimeTypeH264:
		return h264writer.New(name + ".h264")
	case webrtc.MimeTypeVP8, webrtc.MimeTypeVP9, webrtc.MimeTypeAV1:
		return ivfwriter.New(name+".ivf", ivfwriter.WithCodec(mime))
	}
	return nil, nil
}

func receive(track *webrtc.TrackRemote, folder string) error {
	var (
		pictures, packets int
		last              uint32
		mime              string
		into              sink
	)
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return err
		}
		if now := track.Codec().MimeType; now != mime {
			mime = now
			if into, err = writer(folder, mime); err != nil {
				return err
			}
		}
		packets++
		if packets == 1 || packet.Timestamp != last {
			pictures++
			if pictures%10 == 0 {
				event("frames", fields{"kind": track.Kind().String(), "codec": mime, "count": pictures, "packets": packets})
			}
		}
		last = packet.Timestamp
		if into != nil && len(packet.Payload) > 0 {
			if err := into.WriteRTP(packet); err != nil {
				return err
			}
		}
	}
}
