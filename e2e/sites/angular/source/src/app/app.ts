import { Component, signal } from '@angular/core'
import { RouterLink, RouterOutlet } from '@angular/router'

@Component({
  selector: 'app-root',
  imports: [RouterLink, RouterOutlet],
  preserveWhitespaces: true,
  template: `
    <header>
      <svg width="24" height="24" viewBox="0 0 16 16" aria-hidden="true"><path d="M3 1v14M3 2h9l-2 3 2 3H3" fill="none" stroke="currentColor" /></svg>
      <nav><a routerLink="/handbook">Handbook</a> <a routerLink="/tides">Tides</a> <a routerLink="/journal">Journal</a></nav>
      <button type="button" data-e2e-click (click)="boats.set(boats() + 1)">One more</button> <output data-e2e-result>{{ boats() }} boats</output>
      @if (boats() > 9) { <b>Full</b> }
    </header>
    <main><router-outlet /></main>
  `,
  styles: 'header { display: flex; gap: 1rem; align-items: center; } nav a { color: #0b5c7a; }',
})
export class App {
  boats = signal(0)
}
