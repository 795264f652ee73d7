import { readFileSync } from 'node:fs'

/**
 * Processor time that a process has used in user mode, in clock ticks (proc(5)): what its guest
 * runs in. The kernel's share is left out, since it still grows while a killed process is taken
 * apart. Nothing if the process is gone.
 */
export function userTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything; field 14 is counted from behind it.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[11])
  } catch {
    return undefined
  }
}
