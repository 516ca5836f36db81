import { ApplicationConfig, mergeApplicationConfig } from '@angular/core'
import { BootstrapContext, bootstrapApplication } from '@angular/platform-browser'
import { RenderMode, ServerRoute, provideServerRendering, withRoutes } from '@angular/ssr'
import harbour from './harbour.json'
import { App } from './app/app'
import { config } from './app/config'

const routes: ServerRoute[] = [
  { path: ':slug', renderMode: RenderMode.Prerender, getPrerenderParams: async () => harbour.pages.map(({ slug }) => ({ slug })) },
  { path: '**', renderMode: RenderMode.Prerender },
]
const server: ApplicationConfig = { providers: [provideServerRendering(withRoutes(routes))] }

export default (context: BootstrapContext) => bootstrapApplication(App, mergeApplicationConfig(config, server), context)
