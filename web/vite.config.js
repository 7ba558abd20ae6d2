import { defineConfig } from 'vite'

export default defineConfig({
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    rollupOptions: { input: { index: 'index.html', demo: 'demo.html', room: 'room.html', recordings: 'recordings.html', docs: 'docs.html' } },
  },
})
