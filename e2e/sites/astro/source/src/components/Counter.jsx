import { useState } from 'preact/hooks'

export default function Counter({ start }) {
  const [count, setCount] = useState(start)
  return (
    <p>
      <button type="button" data-e2e-click onClick={() => setCount(count + 1)}>One more</button>{' '}
      <output data-e2e-result>{count} boats in</output>
    </p>
  )
}
