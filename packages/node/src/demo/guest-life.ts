import { readFileSync } from 'node:fs'

/** Flag of a thread that is being taken apart: it runs nothing of its program any more. */
const PF_EXITING = 4

/** Whether a guest that must not run any more does: its vCPUs gain processor time. */
export class GuestLife {
  readonly #pid: number
  readonly #before: ReadonlyMap<number, bigint>

  /** @param threads - the vCPUs of the QEMU `pid`; time that they use from now on counts */
  constructor(pid: number, threads: readonly number[]) {
    this.#pid = pid
    this.#before = new Map(
      threads.flatMap((thread) => {
        const time = runTime(pid, thread)
        return time === undefined ? [] : [[thread, time] as const]
      }),
    )
  }

  /** It has run since, and still could. */
  get hasRun(): boolean {
    return [...this.#before].some(([thread, before]) => {
      const now = runTime(this.#pid, thread)
      return now !== undefined && now > before
    })
  }
}

/** Nanoseconds for which a thread has run. Nothing if it is gone or going, or was killed. */
function runTime(pid: number, thread: number): bigint | undefined {
  const folder = `/proc/${pid}/task/${thread}`
  try {
    const stat = readFileSync(`${folder}/stat`, 'latin1')
    // proc(5): the name in parentheses may hold anything; field 9 is counted from behind it.
    const flags = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[6])
    if ((flags & PF_EXITING) !== 0) return undefined
    const [time = ''] = readFileSync(`${folder}/schedstat`, 'latin1').split(' ')
    return BigInt(time)
  } catch {
    return undefined
  }
}
