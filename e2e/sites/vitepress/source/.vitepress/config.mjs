import { defineConfig } from 'vitepress'

export default defineConfig({
  title: 'Saltmarsh Harbour',
  description: 'A small harbour between two long tides.',
  cleanUrls: true,
  lastUpdated: false,
  sitemap: { hostname: 'https://saltmarsh.example' },
  head: [['link', { rel: 'icon', href: '/img/logo.svg' }]],
  themeConfig: {
    logo: '/img/logo.svg',
    nav: [{ text: 'Handbook', link: '/handbook/' }, { text: 'Tides', link: '/tides/' }],
    sidebar: [{ text: 'Harbour', items: [{ text: 'Handbook', link: '/handbook/' }, { text: 'Tides', link: '/tides/' }, { text: 'Journal', link: '/journal/' }] }],
    socialLinks: [{ icon: 'github', link: 'https://github.com/' }],
    search: { provider: 'local' },
  },
})
