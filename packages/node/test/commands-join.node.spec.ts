import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse } from 'yaml'
import { must, Place } from './commands-kit.ts'

const bin = fileURLToPath(new URL('../src/bin.ts', import.meta.url))
const program = [process.execPath, '--conditions=@mycelium/source', bin]

let place: Place
const at = (name: string): string[] => ['--data-dir', place.path(name)]
const token = async (): Promise<string> => await must('token', 'create', ...at('first'))

beforeAll(async () => {
  place = new Place()
  await must('init', '--name', 'garden', ...at('first'))
  await place.start('first')
})

afterAll(async () => {
  await place[Symbol.asyncDispose]()
})

/** Runs a program with that as its input. */
async function feed(command: readonly string[], input: string) {
  const [name = '', ...args] = command
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  child.stdin.end(input)
  const [exitCode] = (await once(child, 'exit')) as [number | null]
  const [stdout, stderr] = await output
  return { exitCode, stdout, stderr }
}

it('takes a token from standard input', async () => {
  const join = [...program, 'join', ...at('piped'), '--token-file', '-']
  const { exitCode, stdout } = await feed(join, await token())
  expect(stdout).toMatch(/^network {2}garden/m)
  expect(exitCode).toBe(0)
})

it('takes a token from the file that a variable names', async () => {
  process.env['MYCELIUM_TOKEN_FILE'] = place.put('token', await token())
  try {
    expect(await must('join', ...at('named'))).toMatch(/^network {2}garden/m)
  } finally {
    delete process.env['MYCELIUM_TOKEN_FILE']
  }
})

it('asks for a token at a terminal, and shows nothing of it', async () => {
  const secret = (await token()).trim()
  const command = [...program, 'join', ...at('typed')].join(' ')
  // Its own pseudo-terminal (script(1) of util-linux), which would echo what is typed too early.
  const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] })
  let shown = ''
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString()
    if (shown.endsWith('token: ')) child.stdin.write(`${secret}\r`)
  })
  const [exitCode] = (await once(child, 'close')) as [number | null]
  expect(shown).toMatch(/^network {2}garden/m)
  expect(shown).not.toContain(secret.slice(0, 12))
  expect(exitCode).toBe(0)
})

it('says the same as a table, as JSON and as YAML', async () => {
  const show = ['identity', 'show', ...at('first')]
  const asJson = JSON.parse(await must(...show, '-o', 'json')) as Readonly<Record<string, unknown>>
  expect(asJson).toMatchObject({ schema: 'mycelium.identity/1', networkName: 'garden' })
  expect(parse(await must(...show, '-o', 'yaml'))).toEqual(asJson)
  expect(await must(...show)).toContain(`node     ${String(asJson['node'])}, an authority`)
})
