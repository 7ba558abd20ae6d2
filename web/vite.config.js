import { defineConfig } from 'vite'
import { reference } from './docs/reference.mjs'

/** Puts what is made from the client's types into its page. */
const clientReference = {
  name: 'client-reference',
  transformIndexHtml: { order: 'pre', handler: (html) => html.includes('<!-- reference -->') ? html.replace('<!-- reference -->', () => reference()) : html },
}

export default defineConfig({
  plugins: [clientReference],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    rollupOptions: { input: { index: 'index.html', demo: 'demo.html', room: 'room.html', recordings: 'recordings.html', docs: 'docs.html', client: 'client.html' } },
  },
})
