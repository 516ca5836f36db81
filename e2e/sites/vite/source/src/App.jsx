import { Suspense, lazy, useState } from 'react'
import harbour from './harbour.json'

const Code = lazy(() => import('./Code.jsx'))

export default function App({ first, unit }) {
  const [page, setPage] = useState(harbour.pages.find(p => p.slug === first))
  const [seen, setSeen] = useState(0)
  return (
    <>
      <header>
        <svg width="24" height="24" viewBox="0 0 16 16" aria-hidden="true"><use href="/img/icons.svg#icon-anchor" /></svg>
        <nav>{harbour.pages.map(p => <button key={p.slug} onClick={() => setPage(p)}>{p.title}</button>)}</nav>
        <button data-e2e-click onClick={() => setSeen(seen + 1)}>Seen</button> <output data-e2e-result>{seen} boats</output>
      </header>
      <main>
        <h1>{page.title}</h1>
        <img src="/img/harbour.png" width="320" height="200" alt="The harbour" />
        {page.sections.map(s => (
          <section key={s.heading}>
            <h2>{s.heading}</h2>
            <p>Depth <b>{s.depth}</b> {unit}</p>
            {s.paragraphs.map((text, i) => <p key={i}>{text}</p>)}
          </section>
        ))}
        <Suspense fallback={<p>…</p>}><Code text={harbour.code} /></Suspense>
      </main>
    </>
  )
}
