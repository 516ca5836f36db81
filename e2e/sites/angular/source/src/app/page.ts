import { Component, computed, input } from '@angular/core'
import harbour from '../harbour.json'

@Component({
  template: `
    @if (page(); as p) {
      <h1>{{ p.title }}</h1>
      @for (s of p.sections; track s.heading) {
        <section>
          <h2>{{ s.heading }}</h2>
          <p>Depth {{ s.depth }} m, @if (s.depth > 2) { <b>deep</b> } @else { <i>shallow</i> }</p>
          @for (text of s.paragraphs; track $index) { <p>{{ text }}</p> }
        </section>
      }
      <pre>{{ code }}</pre>
    }
  `,
})
export class Page {
  slug = input('')
  page = computed(() => harbour.pages.find(p => p.slug === this.slug()))
  code = harbour.code
}
