import adapter from '@sveltejs/adapter-static'

export default {
  kit: {
    adapter: adapter({ pages: 'build', assets: 'build' }),
    version: { name: '1' },
    csp: { mode: 'hash', directives: { 'script-src': ['self'] } },
  },
}
