// Collects what a visitor or a crawler gets from the page as it is shown now. The answer is a snapshot of snapshot.go.
(async () => {
  // As for somebody who has scrolled to the end: what is loaded late is loaded, what moves has arrived.
  for (const e of document.querySelectorAll('img, iframe')) e.loading = 'eager';
  await document.fonts.ready;
  await Promise.all([...document.images].map(e => e.decode().catch(() => {})));
  for (const a of document.getAnimations()) try { a.finish(); } catch { a.cancel(); }
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));

  const all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const box = e => {
    const r = e.getBoundingClientRect();
    return [r.left + scrollX, r.top + scrollY, r.width, r.height].map(n => Math.round(n * 10) / 10);
  };
  const words = text => text.split(/\s+/).filter(Boolean);
  const styles = ['display', 'visibility', 'color', 'backgroundColor', 'backgroundImage', 'fontSize', 'fontFamily', 'fontWeight', 'whiteSpace', 'textAlign', 'opacity'];

  // The look of a picture: its colours on a grid of 8 by 8, over white.
  const look = e => {
    if (!e.naturalWidth) return null;
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 8;
    const c = canvas.getContext('2d');
    c.fillStyle = '#fff';
    c.fillRect(0, 0, 8, 8);
    try {
      c.drawImage(e, 0, 0, 8, 8);
      return [...c.getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 < 3);
    } catch { return null; }
  };
  const shapes = 'path, circle, ellipse, rect, line, polyline, polygon, text, image, use';
  const ink = svg => {
    const drawn = all(shapes, svg).filter(e => !e.closest('defs, symbol, clipPath, mask, pattern'))
      .map(e => ({ b: box(e), s: getComputedStyle(e) })).filter(d => d.b[2] + d.b[3] > 0);
    if (!drawn.length) return { box: [0, 0, 0, 0], paint: '' };
    const left = Math.min(...drawn.map(d => d.b[0])), top = Math.min(...drawn.map(d => d.b[1]));
    const right = Math.max(...drawn.map(d => d.b[0] + d.b[2])), bottom = Math.max(...drawn.map(d => d.b[1] + d.b[3]));
    const paint = [...new Set(drawn.map(d => d.s.fill + ' ' + d.s.stroke))].sort().join(', ');
    return { box: [left, top, right - left, bottom - top], paint };
  };
  const name = e => {
    const said = e.getAttribute('alt') || e.getAttribute('aria-label') || (e.getAttribute('src') || '').split(/[?#]/)[0].split('/').pop().replace(/\.[a-z0-9]+$/, '') || '';
    return e.localName + (said ? ' ' + said.slice(0, 40) : '');
  };

  // The outermost elements whose white space is shown as it is. That between the options of a select is not, whatever its style says.
  const kept = e => !e.closest('select') && getComputedStyle(e).whiteSpace.startsWith('pre');
  const keeps = e => kept(e) && !(e.parentElement && kept(e.parentElement));

  const landmarks = [];
  for (const selector of ['html', 'body', 'header', 'nav', 'main', 'footer', 'aside', 'article', 'section', 'h1', 'h2', 'h3', 'p', 'ul', 'ol', 'li', 'pre', 'code', 'table', 'td', 'blockquote', 'form', 'button', 'input', 'textarea', 'select', 'label', 'output', 'nav a', '[class*=card]', '[role]'])
    all(selector).slice(0, 3).forEach((e, i) => {
      const s = getComputedStyle(e);
      landmarks.push({ name: selector + (i ? ' ' + (i + 1) : ''), box: box(e), styles: Object.fromEntries(styles.map(k => [k, s[k]])) });
    });

  return {
    words: words(document.body ? document.body.innerText : ''),
    kept: all('body *').filter(keeps).map(e => e.localName === 'textarea' ? e.value : e.innerText),
    title: document.title,
    language: document.documentElement.lang,
    charset: document.characterSet,
    canonical: all('link[rel~=canonical]').map(e => e.href),
    alternates: all('link[rel~=alternate]').map(e => e.href),
    meta: all('meta[content]').filter(e => e.name !== 'generator').map(e => `${e.name || e.getAttribute('property') || e.httpEquiv}: ${e.name === 'viewport' ? e.content.split(/[\s,;]+/).join(', ') : e.content}`).sort(),
    data: all('script[type="application/ld+json"]').map(e => e.textContent.replace(/("(?:\\.|[^"\\])*")|\s+/g, '$1')),
    ids: all('[id]').map(e => e.id).sort(),
    links: all('a[href]').map(e => (e.href.animVal ?? e.href)),
    forms: all('form').map(f => [f.method, f.action, ...[...f.elements].map(e => `${e.type} ${e.name}=${e.value}${e.required ? ' required' : ''}`)].join('; ')),
    landmarks,
    pictures: all('img, svg, video, canvas, iframe, object, embed').filter(e => !e.parentElement?.closest('svg')).map(e => ({
      name: name(e), box: box(e), broken: e.localName === 'img' && !!e.getAttribute('src') && !e.naturalWidth,
      look: e.localName === 'img' ? look(e) : null, ...(e.localName === 'svg' ? { ink: ink(e).box, paint: ink(e).paint } : {}),
    })),
  };
})()
