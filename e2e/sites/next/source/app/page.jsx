import Image from 'next/image'

export default function Home() {
  return (
    <>
      <h1>Saltmarsh Harbour</h1>
      <p>A harbour, <em>a wall</em> <b>and a café</b>.</p>
      <Image src="/img/harbour.png" width={320} height={200} alt="The harbour" />
    </>
  )
}
