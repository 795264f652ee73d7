import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { parseGuestTick, prepareGuestImage, probeQemu, probeTiers } from '@mycelium/endophyte'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { DemoReport } from '../src/demo/report.ts'
import { familyOf, survivors, withEnvironment } from './process-family.ts'

/** The sources, run as a person runs the bundle: what is covered is what is tested. */
const PROGRAM = [
  '--conditions=@mycelium/source',
  fileURLToPath(new URL('../src/bin.ts', import.meta.url)),
]

/** A guest that boots quickly and is small. */
const SMALL = ['--memory', '96', '--working-set', '8', '--load', '200', '--seconds', '1']

interface Run {
  readonly child: ChildProcess & { readonly pid: number }
  readonly stdout: Promise<string>
  /** Lines of progress so far. */
  readonly progress: string[]
  /** Where the demo makes its own folder. */
  readonly folder: string
  readonly sharedMemory: readonly string[]
  /** Waits for a line of progress that matches. */
  until(pattern: RegExp): Promise<void>
  /** Exit code or signal. */
  end(): Promise<number | string>
}

/** `mycelium demo -o json`, ended with the test. */
function demo(...args: string[]): Run {
  return demoUnder([], args)
}

/** @param prefix - a program that starts the one whose command line follows */
function demoUnder(prefix: readonly string[], args: readonly string[]): Run {
  const folder = mkdtempSync(join(tmpdir(), 'demo-e2e-'))
  chmodSync(folder, 0o711) // started by root, QEMU runs as somebody else
  const sharedMemory = readdirSync('/dev/shm').sort()
  const line = [...prefix, process.execPath, ...PROGRAM, 'demo', '-o', 'json', ...args]
  const child = spawn(line[0] ?? '', line.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: folder },
  })
  const { pid } = child
  if (pid === undefined) throw new Error('node did not start')
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  const progress: string[] = []
  const checks = new Set<() => void>()
  const lines = createInterface({ input: child.stderr })
  lines.on('line', (line) => {
    progress.push(line)
    for (const check of [...checks]) check()
  })
  lines.on('close', () => {
    for (const check of [...checks]) check()
  })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await survivors(withEnvironment(folder))
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    child: Object.assign(child, { pid }),
    stdout: text(child.stdout),
    progress,
    folder,
    sharedMemory,
    until: (pattern) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          const isThere = progress.some((line) => pattern.test(line))
          if (!isThere && child.exitCode === null) return
          checks.delete(check)
          if (isThere) resolve()
          else reject(new Error(`no ${pattern} in:\n${progress.join('\n')}`))
        }
        checks.add(check)
        void exited.then(check)
        check()
      }),
    end: async () => {
      const [code, signal] = await exited
      return code ?? signal ?? 'nothing'
    },
  }
}

const number = expect.any(Number) as number
const notNegative = expect.toSatisfy((value: unknown) => typeof value === 'number' && value >= 0)
const positive = expect.toSatisfy((value: unknown) => typeof value === 'number' && value > 0)

/** What a line of the log has that the tests look at. */
interface LoggedEvent {
  readonly host: string
  readonly name: string
  readonly detail: {
    readonly lines?: readonly string[]
    readonly at?: number
    readonly acknowledgedBy?: readonly string[]
    readonly startedAt?: number
    readonly dirtyPages?: number
  }
}
const parseEvent = (line: string): LoggedEvent => JSON.parse(line) as LoggedEvent

/** Removed with the test. */
function temporaryFile(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'demo-e2e-file-'))
  onTestFinished(() => {
    rmSync(folder, { recursive: true })
  })
  return join(folder, name)
}

describe('mycelium demo -o json', () => {
  it('survives two kills, and reports them in one line', async () => {
    const log = temporaryFile('log')
    const args = ['--kills', '2', '--seconds', '1', '--memory', '128', '--working-set', '64']
    const run = demo(...args, '--seed', '3', '--log', log)
    const exitCode = await run.end()
    const said = run.progress.join('\n')
    expect(exitCode, said).toBe(0)
    const stdout = await run.stdout
    expect(stdout).toMatch(/^\{.*\}\n$/)
    const report = JSON.parse(stdout) as DemoReport
    const kill = {
      detectMs: notNegative,
      leaseMs: notNegative,
      loadMs: notNegative,
      firstOutputMs: notNegative,
      totalMs: positive,
      ticksLost: number,
    }
    expect(report).toEqual({
      schema: 'mycelium.demo/1',
      ok: true,
      accel: expect.stringMatching(/^(kvm|tcg)$/) as string,
      tracker: expect.stringMatching(/^(async|sync|hash|shadow)$/) as string,
      guestMemoryBytes: 128 * 2 ** 20,
      intervalMs: 100,
      seed: 3,
      epochs: positive,
      epochsPerSecond: positive,
      pauseMsMedian: positive,
      pauseMsP99: positive,
      lagMsMedian: positive,
      dirtyPagesMedian: positive,
      bytesPerEpochMedian: positive,
      kills: [kill, kill],
      guestErrors: 0,
      ramMismatchPages: 0,
      secondCopies: 0,
      failures: [],
    })
    expect(said).toMatch(/^protected: node-2 holds the memory of node-1/m)
    expect(said).toMatch(/^kill 1 of 2: SIGKILL to node-1/m)
    expect(said).toMatch(/^kill 2 of 2: SIGKILL to node-2/m)
    expect(said).toMatch(/^ +\d+ ms {2}first output of the guest: counter \d+/m)
    expect(said).toMatch(/^protected: node-3 holds the memory of node-2/m)
    expect(said).toMatch(/^protected: node-4 holds the memory of node-3/m)
    for (const { detectMs, leaseMs, loadMs, firstOutputMs, totalMs } of report.kills) {
      // Each is rounded.
      expect(Math.abs(detectMs + leaseMs + loadMs + firstOutputMs - totalMs)).toBeLessThanOrEqual(2)
    }
    const events = readFileSync(log, 'utf8').trimEnd().split('\n').map(parseEvent)
    const told = (host: string, name: string): readonly LoggedEvent[] =>
      events.filter((event) => event.host === host && event.name === name)
    const counters = (host: string): readonly number[] =>
      told(host, 'console')
        .flatMap(({ detail }) => detail.lines ?? [])
        .map((line) => parseGuestTick(line)?.tick)
        .filter((tick) => tick !== undefined)
    for (const [index, { ticksLost }] of report.kills.entries()) {
      const last = counters(`node-${index + 1}`).at(-1) ?? Number.NaN
      const [first = Number.NaN] = counters(`node-${index + 2}`)
      expect(ticksLost).toBe(last - first)
    }
    // The load asked for: 2,000 pages in an epoch, which is five counters of a guest that keeps up.
    const mine = told('node-1', 'epoch').map(({ detail }) => detail)
    const [from = 0, to = 0] = [mine.at(0)?.startedAt, mine.at(-1)?.startedAt]
    const between = told('node-1', 'console').filter(
      ({ detail: { at = 0, lines = [] } }) =>
        at > from && at <= to && lines.some((line) => parseGuestTick(line) !== undefined),
    )
    const pages = mine.slice(1).reduce((sum, { dirtyPages = 0 }) => sum + dirtyPages, 0)
    expect(between.length).toBeGreaterThan(20)
    expect((5 * pages) / between.length).toBeGreaterThan(1500)
    expect((5 * pages) / between.length).toBeLessThan(3000)
    // Those that somebody acknowledged, of all hosts.
    const epochs = events.filter(({ name }) => name === 'epoch')
    expect(epochs.every(({ detail }) => (detail.acknowledgedBy ?? []).length > 0)).toBe(true)
    expect(report.epochs).toBe(epochs.length)
    expect(withEnvironment(run.folder)).toEqual([])
    expect(readdirSync(run.folder)).toEqual([])
  })

  it('fails when the guest finds a page that is not what it wrote', async () => {
    const run = demo(...SMALL, '--kills', '1', '--corrupt', '20')
    expect(await run.end()).toBe(1)
    const report = JSON.parse(await run.stdout) as { guestErrors: number; failures: string[] }
    expect(report).toMatchObject({ ok: false, ramMismatchPages: 0, kills: [{ totalMs: positive }] })
    expect(report.guestErrors).toBeGreaterThan(0)
    expect(report.failures).toEqual([`the guest found ${report.guestErrors} errors in its memory`])
    expect(run.progress.at(-1)).toBe(`FAILED: ${report.failures[0]}`)
  })

  it('goes on without a log that cannot be written', async () => {
    const run = demo(...SMALL, '--kills', '0', '--log', '/dev/full')
    expect(await run.end()).toBe(0)
    const complaints = run.progress.filter((line) => line.includes('/dev/full'))
    expect(complaints).toEqual([
      expect.stringMatching(/^the log \/dev\/full ends here, the demo goes on: ENOSPC/),
    ])
  })
})

it('--log: a pipe that nobody reads is refused, and not waited for', () => {
  const folder = mkdtempSync(join(tmpdir(), 'demo-e2e-'))
  onTestFinished(() => {
    rmSync(folder, { recursive: true })
  })
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const { status, stderr } = spawnSync(process.execPath, [...PROGRAM, 'demo', '--log', pipe], {
    encoding: 'utf8',
  })
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: `mycelium: --log ${pipe} is a pipe; give a file\n`,
  })
})

describe('options that make no sense', () => {
  it.each([
    [['--memory', '63'], '--memory'],
    [['--memory', '96', '--working-set', '64'], '--working-set'],
    [['--interval', '9'], '--interval'],
    [['--interval', '60001'], '--interval'],
    [['--memory', '1.5'], '--memory'],
    [['--kills', '-1'], '--kills'],
    [['--corrupt', '0'], '--corrupt'],
    [['--tier', 'best'], '--tier'],
    [['surplus'], 'argument'],
  ])('%j: exit code 2 and one line', (args, word) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...PROGRAM, 'demo', '-o', 'json', ...args],
      { encoding: 'utf8' },
    )
    expect(status).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'ERR_NODE_USAGE' } })
    expect(stderr).toMatch(new RegExp(`^mycelium: .*${word}.*\\n$`))
  })
})

it('--tier: one that does not work is refused before anything starts, the others run', async () => {
  const { works, rejected } = await probeTiers({
    guests: { qemu: await probeQemu(), guest: await prepareGuestImage() },
  })
  expect(works).toContain('shadow')
  const right = demo(...SMALL, '--kills', '0', '--tier', 'shadow')
  expect(await right.end()).toBe(0)
  expect(JSON.parse(await right.stdout)).toMatchObject({ tracker: 'shadow' })
  for (const { tier } of rejected) {
    const wrong = demo(...SMALL, '--kills', '0', '--tier', tier)
    expect(await wrong.end()).toBe(3)
    expect(JSON.parse(await wrong.stdout)).toMatchObject({ error: { code: 'ERR_NODE_NOT_READY' } })
    expect(wrong.progress).toEqual([
      expect.stringMatching(
        `^mycelium: --tier ${tier} does not work here \\(.+\\); these do: ${works.join(', ')}$`,
      ),
    ])
  }
})

// Of root, whose QEMU runs as nobody: with the same user less is forbidden.
describe.skipIf(process.getuid?.() !== 0)('without permission to trace QEMU [needs root]', () => {
  const without = (...names: readonly string[]): readonly string[] => {
    const list = names.map((name) => `-${name}`).join(',')
    return ['setpriv', `--bounding-set=${list}`, `--inh-caps=${list}`]
  }
  const told = ({ progress }: Run): readonly string[] =>
    progress.filter((line) => line.includes('dirty pages are found'))

  it('a preloaded library helps, and the guest outlives its host unharmed', async ({ skip }) => {
    const run = demoUnder(without('sys_ptrace'), [...SMALL, '--kills', '1'])
    expect(await run.end(), run.progress.join('\n')).toBe(0)
    const { tracker, ramMismatchPages } = JSON.parse(await run.stdout) as DemoReport
    expect(ramMismatchPages).toBe(0)
    skip(tracker !== 'async', `it cannot help on this kernel: ${told(run).join()}`)
    expect(told(run)).toEqual([])
  })

  it('and without a look at its page map: one line says which tier is left, and why', async () => {
    const lacking = ['sys_ptrace', 'perfmon', 'sys_admin']
    const run = demoUnder(without(...lacking), [...SMALL, '--kills', '0'])
    expect(await run.end(), run.progress.join('\n')).toBe(0)
    expect(JSON.parse(await run.stdout)).toMatchObject({ ok: true, tracker: 'hash' })
    expect(told(run)).toEqual([
      expect.stringMatching(/^node-1: dirty pages are found by tier hash, not by async, sync: .+/),
    ])
  })
})

describe('mycelium demo leaves nothing behind', () => {
  const stages: readonly (readonly [string, RegExp, (run: Run) => void, number | string])[] = [
    ['SIGHUP at its first word', /./, ({ child }) => child.kill('SIGHUP'), 129],
    ['SIGTERM while it boots', / boots a guest/, ({ child }) => child.kill('SIGTERM'), 143],
    ['SIGINT while it takes over', /^kill 1 of /, ({ child }) => child.kill('SIGINT'), 130],
    ['closed output while it boots', / boots a guest/, ({ child }) => child.stderr?.destroy(), 141],
    ['SIGKILL while it boots', / boots a guest/, ({ child }) => child.kill('SIGKILL'), 'SIGKILL'],
    ['SIGKILL while it takes over', /^kill 1 of /, ({ child }) => child.kill('SIGKILL'), 'SIGKILL'],
  ]

  it.each(stages)('after %s', async (_, stage, strike, ending) => {
    const run = demo(...SMALL, '--kills', '1')
    await run.until(stage)
    const family = familyOf(run.child.pid)
    strike(run)
    // What it starts meanwhile counts too.
    const met = new Map([...family, ...withEnvironment(run.folder)].map((one) => [one.pid, one]))
    expect(await run.end()).toBe(ending)
    const said = await run.stdout
    if (ending === 'SIGKILL') expect(said).toBe('')
    else expect(JSON.parse(said)).toMatchObject({ ok: false, error: { code: 'ERR_NODE_ENDED' } })
    expect(await survivors([...met.values()])).toEqual([])
    expect(await survivors(withEnvironment(run.folder))).toEqual([])
    expect(readdirSync('/dev/shm').sort()).toEqual(run.sharedMemory)
    // Nobody can remove its folder once it is killed; it holds the log of leases, and no memory.
    const left = () => readdirSync(run.folder).filter((name) => name.startsWith('mycelium'))
    expect(left()).toHaveLength(ending === 'SIGKILL' ? 1 : 0)
    // The next demo can, even one that ends for want of QEMU.
    const env = { ...process.env, TMPDIR: run.folder, PATH: '/nowhere' }
    const next = spawnSync(process.execPath, [...PROGRAM, 'demo'], { env })
    expect(next.status).toBe(3)
    expect(left()).toEqual([])
  })
})
