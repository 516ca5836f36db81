import React, { useState } from 'react'

export default function Counter({ unit }) {
  const [count, setCount] = useState(0)
  return (
    <p>
      <button type="button" data-e2e-click onClick={() => setCount(count + 1)}>One more</button> <output data-e2e-result>{count} {unit}</output>
    </p>
  )
}
