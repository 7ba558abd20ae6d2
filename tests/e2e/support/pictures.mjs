// Coded pictures for clients that have no encoder, made by ffmpeg; and what ffmpeg makes of those that arrived.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

// A keyframe each second at 15 pictures a second: these clients send what was coded beforehand, whatever is asked of them.
const CODERS = {
  vp8: ['ivf', '-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '300k', '-g', '15'],
  vp9: ['ivf', '-c:v', 'libvpx-vp9', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '300k', '-g', '15'],
  h264: ['h264', '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline', '-level', '3.1', '-b:v', '300k', '-g', '15',
    '-x264-params', 'slices=1:threads=1:scenecut=0', '-bsf:v', 'h264_metadata=aud=insert'],
}

/** A folder that is there until `remove`. */
export function folder() {
  const path = mkdtempSync(join(tmpdir(), 'switchboard-pictures-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Three seconds of moving pictures; gives the file. */
export async function coded(into, codec, size = '320x240') {
  const [extension, ...coder] = CODERS[codec]
  const file = join(into, `source-${codec}-${size}.${extension}`)
  await run('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=15`, '-t', '3', '-pix_fmt', 'yuv420p', ...coder, file])
  return file
}

/** How many pictures of a file can be decoded, and the codec and size of the last one. */
export async function decodable(file) {
  const entries = 'stream=codec_name:frame=width,height'
  const { stdout } = await run('ffprobe', ['-v', 'error', '-select_streams', 'v:0', '-show_entries', entries, '-of', 'json', file], { maxBuffer: 2 ** 24 })
  const { streams: [{ codec_name: codec }], frames } = JSON.parse(stdout)
  const { width, height } = frames.at(-1) ?? {}
  return { codec, width, height, frames: frames.length }
}
