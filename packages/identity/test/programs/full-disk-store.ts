/**
 * Fills the disk under a store and says what happens. One line for each step.
 *
 * usage: full-disk-store.ts FOLDER
 */
import { rmSync, statSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createFileStore } from '../../src/file-store.ts'

const [folder = ''] = process.argv.slice(2)
const filler = join(folder, 'filler')
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: { code?: string; doubt?: boolean }) => `${error.code} doubt ${error.doubt}`,
  )

const store = await createFileStore({ folder: join(folder, 'identity') })
await store.write('tokens', Buffer.from('old'))
await store.appendFacts([Buffer.from('first')])
const { bavail, bsize } = statfsSync(folder)
// One page is left: not enough for what comes.
writeFileSync(filler, Buffer.alloc((bavail - 1) * bsize))
const facts = Array.from({ length: 4 }, () => new Uint8Array(8000).fill(1))
say(await outcome(store.write('tokens', new Uint8Array(20_000))))
const sizeOfLog = (): number => statSync(join(folder, 'identity', 'facts.log')).size
const sizeBefore = sizeOfLog()
say(await outcome(store.appendFacts(facts)))
say(`${sizeOfLog() - sizeBefore} bytes left behind`)
say(await outcome(store.replaceFacts(facts)))
say(Buffer.from((await store.read('tokens')) ?? []).toString())
say(`${(await store.facts()).length} facts`)
rmSync(filler)
say(await outcome(store.write('tokens', Buffer.from('new'))))
say(await outcome(store.appendFacts(facts)))
await store[Symbol.asyncDispose]()
await using again = await createFileStore({ folder: join(folder, 'identity') })
say(Buffer.from((await again.read('tokens')) ?? []).toString())
say(`${(await again.facts()).length} facts, ${again.tornBytes} torn`)
