import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { NetworkReport } from '../src/drill/report.ts'

/** Promised seconds, times this, are the deadlines of tests: they share their machine. */
const SLACK = 3

/** Of a drill that fails at each of its deadlines in turn. */
const DRILL_MS_MAX = 300_000

/** The sources, run as a person runs the bundle: what is covered is what is tested. */
const PROGRAM = [
  '--conditions=@mycelium/source',
  fileURLToPath(new URL('../src/bin.ts', import.meta.url)),
]

interface Ran {
  readonly code: number | null
  readonly report: NetworkReport & { readonly schema: string }
  readonly lines: number
  readonly progress: string
  /** In its temporary folder. */
  readonly files: readonly string[]
}

async function drill(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const folder = mkdtempSync(join(tmpdir(), 'drill-e2e-'))
  const line = [...PROGRAM, 'drill', 'network', '-o', 'json', ...args]
  const child = spawn(process.execPath, line, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env, TMPDIR: folder },
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  const [output, progress, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null]>,
  ])
  const lines = output.trimEnd().split('\n')
  const report = JSON.parse(lines.at(-1) ?? '') as Ran['report']
  return { code, report, lines: lines.length, progress, files: readdirSync(folder) }
}

function expectKept({ code, report, lines, progress, files }: Ran, nodes: number): void {
  const figure: unknown = expect.any(Number)
  expect(report, progress).toEqual({
    schema: 'mycelium.drill.network/1',
    ok: true,
    nodes,
    formationMs: figure,
    refused: expect.arrayContaining(['revoked', 'token-unknown', 'wrong-network']) as unknown,
    revokedDroppedMs: figure,
    healedMs: figure,
    rssBytesMedian: figure,
  })
  expect({ code, lines, files }).toEqual({ code: 0, lines: 1, files: [] })
}

describe('mycelium drill network', { timeout: DRILL_MS_MAX }, () => {
  it('5 nodes, where the machine allows it each in a namespace of its own', async () => {
    const ran = await drill(['--slack', `${SLACK}`])
    expectKept(ran, 5)
    const hasNamespaces = ran.progress.includes('a network namespace of its own')
    expect(hasNamespaces || /on loopback addresses \(.+\)/.test(ran.progress)).toBe(true)
  })

  it('3 nodes on loopback addresses, where there is no unshare(1)', async () => {
    const programs = mkdtempSync(join(tmpdir(), 'drill-path-'))
    onTestFinished(() => {
      rmSync(programs, { recursive: true })
    })
    symlinkSync(process.execPath, join(programs, 'node'))
    const ran = await drill(['--slack', `${SLACK}`, '--nodes', '3'], { PATH: programs })
    expectKept(ran, 3)
    expect(ran.progress).toMatch(/^3 nodes, on loopback addresses \(.+\)$/m)
  })

  it('20 nodes', async () => {
    expectKept(await drill(['--slack', `${SLACK}`, '--nodes', '20']), 20)
  })

  it('a promise that is not kept: exit code 1, and what it was', async () => {
    const { code, report, files } = await drill(['--slack', '0.001', '--nodes', '3'])
    expect(report).toMatchObject({ ok: false, nodes: 3, formationMs: null, refused: [] })
    expect(report.problem).toMatch(/^the start of node-1 took more than \d+ s: /)
    expect({ code, files }).toEqual({ code: 1, files: [] })
  })
})
