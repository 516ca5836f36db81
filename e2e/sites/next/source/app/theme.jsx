'use client'
import { useState } from 'react'

export default function Theme({ start }) {
  const [theme, setTheme] = useState(start)
  return (
    <p>
      <button data-e2e-click onClick={() => setTheme(theme === 'light' ? 'dark' : 'light')}>Theme</button> <output data-e2e-result>now {theme} here</output>
    </p>
  )
}
