/** Camera and microphone, or a test picture and a tone where there are none (or `?media=test` asks for them). */
export async function media(video: boolean | MediaTrackConstraints): Promise<MediaStream> {
  if (new URLSearchParams(location.search).get('media') !== 'test') {
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: true, video })
    } catch {
      // No device, or no permission: the call goes on with what the page can make itself.
    }
  }
  return new MediaStream([tone(), ...(video ? [picture()] : [])])
}

function tone(): MediaStreamTrack {
  const context = new AudioContext()
  const [oscillator, gain, out] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()]
  oscillator.frequency.value = 440
  gain.gain.value = 0.05
  oscillator.connect(gain).connect(out)
  oscillator.start()
  return out.stream.getAudioTracks()[0] as MediaStreamTrack
}

function picture(): MediaStreamTrack {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 })
  const draw = canvas.getContext('2d') as CanvasRenderingContext2D
  const colours = ['#e0e0e0', '#e0c341', '#41c3e0', '#41e066', '#c341e0', '#e04141', '#4166e0']
  setInterval(() => {
    const now = new Date()
    colours.forEach((colour, n) => {
      draw.fillStyle = colour
      draw.fillRect((n * 640) / 7, 0, 640 / 7 + 1, 270)
    })
    draw.fillStyle = '#101216'
    draw.fillRect(0, 270, 640, 90)
    draw.fillStyle = '#ffffff'
    draw.fillRect(((now.getTime() % 4000) / 4000) * 640, 270, 12, 90)
    draw.font = '40px ui-monospace, monospace'
    draw.fillText(now.toISOString().slice(11, 23), 30, 330)
  }, 40)
  return canvas.captureStream(25).getVideoTracks()[0] as MediaStreamTrack
}
