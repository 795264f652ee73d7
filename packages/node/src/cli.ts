import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { crc32 } from '@mycelium/checksum'
import { createSystemClock, createVirtualClock } from '@mycelium/clock'
import { createFailureDetector } from '@mycelium/failure-detector'

const USAGE = `usage: mycelium demo [-o json]   a peer falls silent, in virtual time
       mycelium crc32 FILE       checksum of a file
       mycelium up               watch until SIGINT or SIGTERM`

type Print = (line: string) => void

/** What a command needs of its standard output. */
export interface Output {
  write(text: string): unknown
}

/**
 * Runs one command line.
 *
 * @returns the exit code
 * @throws {Error} the message is for the person who typed the command
 */
export async function run(args: string[], output: Output): Promise<number> {
  const print: Print = (line) => { output.write(`${line}\n`) }
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { output: { type: 'string', short: 'o', default: 'text' } },
  })
  const [command, ...rest] = positionals
  switch (command ?? '') {
    case 'demo': return await demo(print, values.output === 'json')
    case 'crc32': return await checksum(print, rest)
    case 'up': return await up(print)
    case '':
      print(USAGE)
      return 2
    default: throw new RangeError(`command must be demo, crc32 or up, got ${command}`)
  }
}

async function demo(print: Print, json: boolean): Promise<number> {
  const clock = createVirtualClock()
  await using detector = createFailureDetector({ clock }, { suspectAfterMs: 2_000 })
  let suspectedAtMs: number | undefined
  detector.addEventListener('suspected', ({ detail }) => {
    suspectedAtMs = clock.now()
    print(`${suspectedAtMs} ms: ${detail.peer} silent for ${detail.silentMs} ms`)
  })
  await detector.start()
  detector.heartbeat('peer-1')
  clock.advance(10_000)
  const ok = suspectedAtMs === 2_000
  if (json) print(JSON.stringify({ ok, suspectedAtMs, node: process.version }))
  return ok ? 0 : 1
}

async function checksum(print: Print, [file]: string[]): Promise<number> {
  if (file === undefined) throw new TypeError('FILE is missing: mycelium crc32 FILE')
  print(crc32(await readFile(file)).toString(16).padStart(8, '0'))
  return 0
}

async function up(print: Print): Promise<number> {
  await using detector = createFailureDetector({ clock: createSystemClock() })
  const stopped = new Promise<string>((resolve) => {
    // `on`, not `once`: Ctrl-C under npm arrives twice, and the second must not kill the stopping.
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, resolve)
  })
  const idle = setInterval(() => {}, 60_000)
  await detector.start()
  print(`up, pid ${process.pid}`)
  print(`stopped by ${await stopped}`)
  clearInterval(idle)
  return 0
}
