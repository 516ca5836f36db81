export default defineNuxtConfig({
  compatibilityDate: '2026-03-04',
  telemetry: false,
  devtools: { enabled: false },
  buildId: 'harbour',
  app: { head: { htmlAttrs: { lang: 'en' }, link: [{ rel: 'icon', href: '/img/logo.svg' }] } },
  css: ['~/site.css'],
  nitro: { prerender: { routes: ['/', '/handbook', '/tides', '/journal'] } },
})
