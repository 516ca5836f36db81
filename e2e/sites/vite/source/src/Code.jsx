export default function Code({ text }) {
  return <pre><code>{text}</code></pre>
}
