/**
 * usage: tracked.ts BYTES
 *
 * Maps the memory file on descriptor 3, says `ready`, and then writes to each page whose number
 * comes in a message, and answers with it. Ends with its channel.
 */
import { loadAddon } from '../../src/addon.ts'

const memory = loadAddon().adoptMemory(3, Number(process.argv[2]), true)
const bytes = new Uint8Array(memory.arrayBuffer())
let value = 0
process.on('message', (page: number) => {
  bytes[page * 4096] = ++value
  process.send?.(page)
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
