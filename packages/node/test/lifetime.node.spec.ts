import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { untilEnd } from '../src/lifetime.ts'

const program = fileURLToPath(new URL('programs/until-end.ts', import.meta.url))
const node = [process.execPath, '--conditions=@mycelium/source', program] as const

interface Run {
  readonly child: ChildProcess
  /** Of the program itself. */
  readonly pid: number
  /** Resolves when standard error is closed: by the last process that has it. */
  readonly stderr: Promise<string>
}

async function start(command: string, args: readonly string[]): Promise<Run> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const stderr = text(child.stderr)
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const pid = Number(/^ready (\d+)/.exec(line.toString())?.[1])
  return { child, pid, stderr }
}

describe('untilEnd', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s ends gracefully, though it comes twice',
    async (signal) => {
      const { child, stderr } = await start(node[0], node.slice(1))
      child.kill(signal)
      child.kill(signal)
      const [exit] = await Promise.all([once(child, 'exit'), stderr])
      expect(exit).toEqual([0, null])
      expect(await stderr).toBe(`${signal}\n`)
    },
  )

  it('ends when nobody reads its output any more, without a word about EPIPE', async () => {
    const { child, stderr } = await start(node[0], node.slice(1))
    child.stdout?.destroy()
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(await stderr).toBe('output closed\n')
  })

  it('ends when its parent is killed', async () => {
    // A shell that stays, as npm does. It passes nothing on.
    const { child, stderr } = await start('sh', ['-c', '"$@" & wait', 'sh', ...node])
    child.kill('SIGKILL')
    expect(await stderr).toBe('parent gone\n')
  })

  it('gives everybody the same signal', () => {
    const listeners = process.listenerCount('SIGTERM')
    const signal = untilEnd()
    expect(untilEnd()).toBe(signal)
    expect(signal.aborted).toBe(false)
    expect(process.listenerCount('SIGTERM')).toBeLessThanOrEqual(listeners + 1)
  })
})
