export default {
  title: 'Saltmarsh Harbour',
  tagline: 'A small harbour between two long tides.',
  url: 'https://saltmarsh.example',
  baseUrl: '/',
  trailingSlash: true,
  favicon: 'img/logo.svg',
  onBrokenLinks: 'warn',
  markdown: { format: 'detect' },
  presets: [['classic', { docs: { routeBasePath: '/' }, blog: false, theme: { customCss: './src/css/site.css' } }]],
  themeConfig: {
    image: 'img/harbour.png',
    navbar: { title: 'Saltmarsh', logo: { alt: '', src: 'img/logo.svg', width: 32, height: 32 }, items: [{ to: '/tides/', label: 'Tides' }, { href: 'https://charts.example', label: 'Charts', position: 'right' }] },
    footer: { style: 'dark', copyright: 'Saltmarsh Harbour' },
  },
}
