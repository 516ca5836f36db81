import { defineConfig } from 'astro/config'
import preact from '@astrojs/preact'

export default defineConfig({
  site: 'https://saltmarsh.example',
  integrations: [preact()],
  image: { service: { entrypoint: 'astro/assets/services/noop' } },
  markdown: { syntaxHighlight: 'prism' },
  experimental: { csp: { directives: ["default-src 'self'", "img-src 'self' data:"] } },
})
