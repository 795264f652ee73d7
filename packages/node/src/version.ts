import { readFileSync } from 'node:fs'

/** Of this program. The manifest lies one step up from src/ and from dist/. */
export function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { readonly version: string }).version
}
