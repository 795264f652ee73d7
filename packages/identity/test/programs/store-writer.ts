/**
 * Writes records and facts without end, and says which are durable. To be killed.
 *
 * usage: store-writer.ts FOLDER FIRST
 */
import { createFileStore } from '../../src/file-store.ts'

const [folder = '', first = '0'] = process.argv.slice(2)
const store = await createFileStore({ folder })
process.stdout.write('open\n')
for (let i = Number(first); ; i++) {
  const text = `${i}:`.padEnd(20_000, '.')
  await Promise.all([
    store.write('tokens', Buffer.from(text)),
    store.appendFacts([Buffer.from(`a${i}`), Buffer.from(`b${i}`)]),
  ])
  if (i % 20 === 19) await store.replaceFacts([Buffer.from(`a${i}`), Buffer.from(`b${i}`)])
  process.stdout.write(`${i}\n`)
}
