export default function (config) {
  config.addPassthroughCopy('img')
  config.addPassthroughCopy('assets')
  config.addPassthroughCopy('_headers')
  config.ignores.add('build.sh')
  config.addGlobalData('layout', 'base.njk')
  config.addGlobalData('eleventyComputed', {
    permalink: data => data.permalink || (data.page.filePathStem.startsWith('/pages/') ? `/${data.page.fileSlug}/` : undefined),
  })
  return { markdownTemplateEngine: false, dir: { input: '.', includes: '_includes' } }
}
