import Link from 'next/link'
import './site.css'
import Theme from './theme.jsx'

export const metadata = { metadataBase: new URL('https://saltmarsh.example'), title: 'Saltmarsh Harbour', description: 'A small harbour between two long tides.' }

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>
        <header>
          <svg width="24" height="24" viewBox="0 0 16 16" aria-hidden="true"><path d="M3 1v14M3 2h9l-2 3 2 3H3" fill="none" stroke="currentColor" /></svg>
          <nav><Link href="/handbook/">Handbook</Link> <Link href="/tides/">Tides</Link> <Link href="/journal/">Journal</Link></nav>
          <Theme start="light" />
        </header>
        <main>{children}</main>
      </body>
    </html>
  )
}
