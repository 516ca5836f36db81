import { Component } from '@angular/core'

@Component({
  template: `
    <h1>Saltmarsh Harbour</h1>
    <p>A harbour, <em>a wall</em> <b>and a café</b>.</p>
    <img src="/img/harbour.png" width="320" height="200" alt="The harbour"> <img src="/img/boat.png" alt="A boat">
  `,
})
export class Home {}
