import harbour from '../harbour.json'

export const dynamicParams = false
export const generateStaticParams = () => harbour.pages.map(({ slug }) => ({ slug }))

const find = async params => {
  const { slug } = await params
  return harbour.pages.find(p => p.slug === slug)
}

export async function generateMetadata({ params }) {
  const { title, description, slug } = await find(params)
  return { title, description, alternates: { canonical: `/${slug}/` } }
}

export default async function Page({ params }) {
  const page = await find(params)
  return (
    <article>
      <h1>{page.title}</h1>
      <script type="application/ld+json" dangerouslySetInnerHTML={{ __html: JSON.stringify({ '@context': 'https://schema.org', '@type': 'Article', name: page.title }) }} />
      {page.sections.map(s => (
        <section key={s.heading}>
          <h2>{s.heading}</h2>
          <p>Depth {s.depth} m</p>
          {s.paragraphs.map((text, i) => <p key={i}>{text}</p>)}
        </section>
      ))}
      <pre><code>{harbour.code}</code></pre>
    </article>
  )
}
