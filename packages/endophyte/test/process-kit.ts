import { readFileSync } from 'node:fs'
import { createBoottimeClock } from '@mycelium/ram'
import type { Clock, MonotonicMs } from '@mycelium/interface'

/** Bound on what a test waits for; far above what anything here takes. */
const WAIT_MS_MAX = 20_000
const POLL_MS = 2

export const clock: Clock = createBoottimeClock()

export interface ProcessSample {
  /** R, S, T (stopped), Z (dead, not reaped); `gone`: reaped. */
  readonly state: string
  /** User and system time, in clock ticks. */
  readonly cpuTicks: number
}

export function sampleProcess(pid: number): ProcessSample {
  let line: string
  try {
    line = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return { state: 'gone', cpuTicks: 0 }
  }
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0] ?? '', cpuTicks: Number(fields[11]) + Number(fields[12]) }
}

/** Executes nothing any more, reaped or not. */
export function isDead(pid: number): boolean {
  return ['gone', 'Z', 'X'].includes(sampleProcess(pid).state)
}

export function untilTime(at: MonotonicMs): Promise<void> {
  return new Promise((resolve) => clock.schedule(at, resolve))
}

/** Waits for something that says nothing by itself. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const giveUpAt = clock.now() + WAIT_MS_MAX
  while (!condition()) {
    if (clock.now() > giveUpAt) throw new Error(`waited ${WAIT_MS_MAX} ms in vain until ${what}`)
    await untilTime(clock.now() + POLL_MS)
  }
}
