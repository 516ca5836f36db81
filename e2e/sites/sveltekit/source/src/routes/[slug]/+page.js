import harbour from '$lib/harbour.json'

export const entries = () => harbour.pages.map(({ slug }) => ({ slug }))
export const load = ({ params }) => ({ page: harbour.pages.find(p => p.slug === params.slug), code: harbour.code })
