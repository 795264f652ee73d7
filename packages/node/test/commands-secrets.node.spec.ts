import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import {
  createFileStore,
  decodeCanonical,
  decodeToken,
  openKeyFile,
  type CborValue,
} from '@mycelium/identity'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { must, Place } from './commands-kit.ts'

const bin = fileURLToPath(new URL('../src/bin.ts', import.meta.url))
const PASSPHRASE = 'correct horse battery staple'
const KEY_BYTES = 32

let place: Place
let daemon: ChildProcess | undefined
/** Everything that anybody could have read meanwhile, except what was asked for. */
const seen: { readonly where: string; readonly bytes: Buffer }[] = []

beforeEach(() => {
  place = new Place()
})

afterEach(async () => {
  if (daemon?.exitCode === null) daemon.kill('SIGKILL')
  await place[Symbol.asyncDispose]()
})

const at = (name: string): string[] => ['--data-dir', place.path(name)]

function start(...args: readonly string[]): ChildProcess {
  const program = ['--conditions=@mycelium/source', bin, ...args]
  return spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** As everybody can see them. */
function lookAtProcesses(): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      seen.push({ where: `process ${pid}`, bytes: readFileSync(`/proc/${pid}/cmdline`) })
    } catch {
      // It has gone.
    }
  }
}

/** Runs a command as a person does, looked at from outside. */
async function command(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const child = start(...args)
  const [stdout, stderr] = [text(child.stdout!), text(child.stderr!)]
  const looks = setInterval(lookAtProcesses, 50)
  const [code] = (await once(child, 'exit')) as [number | null]
  clearInterval(looks)
  lookAtProcesses()
  const outcome = { stdout: await stdout, stderr: await stderr }
  if (code !== 0) throw new Error(`${args.join(' ')}: ${code}, ${outcome.stderr}`)
  return outcome
}

function lookAtFiles(folder: string, except: readonly string[]): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = `${folder}/${name}`
    if (except.some((prefix) => name.startsWith(prefix)) || !statSync(path).isFile()) continue
    seen.push({ where: path, bytes: readFileSync(path) })
  }
}

/** Every string of bytes in it that is as long as a key. */
function keysIn(value: CborValue): Uint8Array[] {
  if (value instanceof Uint8Array) return value.length === KEY_BYTES ? [value] : []
  if (Array.isArray(value)) return value.flatMap(keysIn)
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(keysIn) : []
}

/** The private keys and the isolation keys of a node. */
async function keysOf(name: string): Promise<Uint8Array[]> {
  await using store = await createFileStore({ folder: `${place.path(name)}/identity` })
  const keys: Uint8Array[] = []
  for (const kind of ['node-key', 'network-key'] as const) {
    const bytes = await store.read(kind)
    if (bytes) keys.push((await openKeyFile(bytes, { kind })).seed)
  }
  const isolation = await store.read('isolation-keys')
  if (!isolation) throw new Error(`${name} has no isolation key`)
  return [...keys, ...keysIn(decodeCanonical(isolation, { bytesMax: 65_536 }))]
}

it('no secret of a run stands in bundles, logs, the audit log, or lists of processes', async () => {
  const passphrase = place.put('secret/passphrase', PASSPHRASE)
  await command('init', '--name', 'garden', ...at('first'))
  daemon = start('up', ...at('first'), '--listen', '/ip4/127.0.0.1/tcp/0')
  const log = text(daemon.stderr!)
  await must('status', '--wait', ...at('first'))
  await must('log', '--level', 'trace', ...at('first'))
  const { stdout: token } = await command('token', 'create', ...at('first'))
  const { stdout: unused } = await command('token', 'create', ...at('first'))
  await command('join', ...at('second'), '--token-file', place.put('secret/token', token))
  await command('identity', 'rotate', '--what', 'isolation-key', ...at('first'))
  const backup = place.path('secret/backup')
  await command('identity', 'backup', backup, '--passphrase-file', passphrase, ...at('first'))
  const bundle = place.path('bundle.tar.gz')
  const told = await command('support-bundle', bundle, ...at('first'))
  const offline = place.path('offline.tar.gz')
  await command('support-bundle', offline, ...at('second'))
  daemon.kill('SIGTERM')
  expect(await once(daemon, 'exit')).toEqual([0, null])

  const unpacked = gunzipSync(readFileSync(bundle)).toString('latin1')
  for (const part of ['about', 'status', 'config', 'audit', 'doctor']) {
    expect(unpacked).toContain(`mycelium-support/${part}.json`)
  }
  expect(unpacked).toContain('command:identity-backup') // in the audit log
  expect(unpacked).toContain('node started') // in the log
  expect(unpacked).toContain('mycelium_ready 1')
  expect(gunzipSync(readFileSync(offline)).toString()).toMatch(/"code": "ERR_NODE_NOT_RUNNING"/)

  seen.push(
    { where: 'bundle', bytes: gunzipSync(readFileSync(bundle)) },
    { where: 'bundle offline', bytes: gunzipSync(readFileSync(offline)) },
    { where: 'what support-bundle says', bytes: Buffer.from(`${told.stdout}${told.stderr}`) },
    { where: 'log', bytes: Buffer.from(await log) },
  )
  for (const name of ['first', 'second']) lookAtFiles(place.path(name), ['identity/'])

  const keys = [...(await keysOf('first')), ...(await keysOf('second'))]
  expect(keys.length).toBeGreaterThanOrEqual(5)
  const secrets = [...keys, decodeToken(token).secret, decodeToken(unused).secret]
  const forms = secrets
    .map((secret) => Buffer.from(secret))
    .flatMap((secret) => [
      secret,
      ...(['hex', 'base64', 'base64url'] as const).map((form) => {
        return Buffer.from(secret.toString(form).replaceAll('=', ''))
      }),
    ])
  forms.push(...[PASSPHRASE, token.trim(), unused.trim()].map((one) => Buffer.from(one)))
  const found = seen.flatMap(({ where, bytes }) =>
    forms.some((form) => bytes.includes(form)) ? [where] : [],
  )
  expect(found).toEqual([])
  // What would find them finds them.
  const stored = readFileSync(`${place.path('first')}/identity/node-key`)
  expect(forms.some((form) => stored.includes(form))).toBe(true)
  expect(seen.some(({ where }) => where.startsWith('process'))).toBe(true)
})
