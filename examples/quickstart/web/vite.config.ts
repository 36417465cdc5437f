import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The server lists this origin, port included, in WithOrigins: another port
// would be refused, so a taken one is an error and not a reason to move on.
export default defineConfig({
  plugins: [react()],
  server: { host: '127.0.0.1', port: 5173, strictPort: true },
  preview: { host: '127.0.0.1', port: 5173, strictPort: true },
})
