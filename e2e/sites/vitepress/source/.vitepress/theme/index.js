import DefaultTheme from 'vitepress/theme-without-fonts'
import BoatCounter from './BoatCounter.vue'

export default { extends: DefaultTheme, enhanceApp: ({ app }) => app.component('BoatCounter', BoatCounter) }
