import { ApplicationConfig, provideZonelessChangeDetection } from '@angular/core'
import { provideClientHydration } from '@angular/platform-browser'
import { provideRouter, withComponentInputBinding } from '@angular/router'
import { provideServiceWorker } from '@angular/service-worker'
import { Home } from './home'
import { Page } from './page'

export const config: ApplicationConfig = {
  providers: [
    provideZonelessChangeDetection(),
    provideRouter([{ path: '', component: Home, pathMatch: 'full' }, { path: ':slug', component: Page }], withComponentInputBinding()),
    provideClientHydration(),
    provideServiceWorker('ngsw-worker.js', { registrationStrategy: 'registerImmediately' }),
  ],
}
