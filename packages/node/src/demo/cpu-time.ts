import { readFileSync } from 'node:fs'

/**
 * Processor time that a process has used in user mode and in the kernel, in clock ticks (proc(5)).
 * Nothing if it is gone. A zombie keeps its figures and gains none.
 */
export function cpuTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything; fields 14 and 15 are counted from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(fields[11]) + Number(fields[12])
  } catch {
    return undefined
  }
}
