import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// In development the page comes from Vite and everything else from the server, through Vite: one origin, as in production.
const server = process.env.CHAT_SERVER ?? 'http://127.0.0.1:8000'

export default defineConfig({
  plugins: [vue()],
  server: {
    host: '127.0.0.1',
    port: 5173,
    proxy: { '/ws': { target: server, ws: true }, '/api': server },
  },
})
