/** A picture of 16 × 32 that is to be turned by 90°: whether this browser turns pictures as their file says. */
const SAMPLE = 'GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQJChYECGFOAZwH/////////7AEAAAAAAABoAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAVSalmlSrXsYMPQkBNgIRMYXZmV0GETGF2ZhZUrmsBAAAAAAAAYa4BAAAAAAAAWNeBAXPFiAAAAAAAAAABnIEAIrWcg3VuZIiBAIaFVl9WUDiDgQEj44OEAmJaAOABAAAAAAAAIrCBELqBIJqBAnZwAQAAAAAAAA92cYEAdnWIwFaAAAAAAAASVMNnrHNzqWPAi2PFiAAAAAAAAAABZ8iYRaOHRU5DT0RFUkSHi0xhdmMgbGlidnB4H0O2dajngQCjo4EAAIAQAgCdASoQACAAAEcIhYWIhYSIAgIACRHrgP7/q1CA'

const turns = new Promise<boolean>((resolve) => {
  const probe = document.createElement('video')
  probe.muted = true
  // The pages' policy (CSP) lets media come from blobs, and not from data URLs.
  const address = URL.createObjectURL(new Blob([Uint8Array.from(atob(SAMPLE), (byte) => byte.charCodeAt(0))], { type: 'video/webm' }))
  const done = (turned: boolean): void => {
    URL.revokeObjectURL(address)
    resolve(turned)
  }
  probe.onloadedmetadata = () => done(probe.videoWidth > probe.videoHeight)
  probe.onerror = () => done(false)
  probe.src = address
})

/** Has a player show the pictures of a file upright, where the browser does not. */
export async function upright(player: HTMLVideoElement, rotation: number): Promise<void> {
  if (rotation === 0 || await turns) return
  const turn = (): void => {
    const [width, height] = [player.clientWidth, player.clientHeight]
    const scale = rotation % 180 === 0 || width === 0 ? 1 : Math.min(width, height) / Math.max(width, height)
    player.style.transform = `rotate(${rotation}deg) scale(${scale})`
  }
  player.addEventListener('loadedmetadata', turn)
  turn()
}
