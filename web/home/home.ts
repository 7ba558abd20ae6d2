const place = document.querySelector('#health')
try {
  const { status, version, uptime } = await (await fetch('/health')).json()
  if (place) place.textContent = `${status}, version ${version}, up for ${Math.floor(uptime / 60)} min`
} catch {
  if (place) place.textContent = 'no answer'
}
export {}
