/** Which processes belong to one, and whether they and what they made are gone. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** Bound on the end of everything, in milliseconds: an orphan looks for its parent every 250. */
const END_TIMEOUT_MS = 15_000

/** Bound on waiting for processes to be there: a guest under emulation among them. */
const BEGIN_TIMEOUT_MS = 90_000

/** A process, told from a later one with the same number. */
export interface Process {
  readonly pid: number
  readonly parent: number
  readonly startedAt: string
  readonly name: string
  readonly isZombie: boolean
}

function look(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? []
    const fields = rest.split(' ')
    const [state, parent] = fields
    const startedAt = fields[19] ?? ''
    return { pid, name, parent: Number(parent), startedAt, isZombie: state === 'Z' }
  } catch {
    return undefined
  }
}

const isAlive = ({ pid, startedAt }: Process): boolean => {
  const now = look(pid)
  return now !== undefined && !now.isZombie && now.startedAt === startedAt
}

function everybody(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => look(Number(name)) ?? [])
}

/** `pid` and all that descends from it. */
export function familyOf(pid: number): Process[] {
  const all = everybody()
  const family = all.filter((process) => process.pid === pid)
  for (const member of family) family.push(...all.filter(({ parent }) => parent === member.pid))
  return family
}

/** All whose environment, as they were started, has `text` in it. */
export function withEnvironment(text: string): Process[] {
  return everybody().filter(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(text)
    } catch {
      return false // gone, or not ours
    }
  })
}

/** Its program and arguments; empty when it is gone. */
export function commandLineOf({ pid }: Process): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  } catch {
    return []
  }
}

/** Waits until `look` finds something. @throws it did not in time */
export async function until<T>(look: () => T | undefined): Promise<T> {
  const deadline = performance.now() + BEGIN_TIMEOUT_MS
  for (let found = look(); performance.now() < deadline; found = look()) {
    if (found !== undefined) return found
    await delay(50)
  }
  throw new Error(`nothing was found in ${BEGIN_TIMEOUT_MS} ms`)
}

/** Waits until all of them are gone. Returns those that are not. */
export async function survivors(
  family: readonly Process[],
  timeoutMs: number = END_TIMEOUT_MS,
): Promise<string[]> {
  const deadline = performance.now() + timeoutMs
  while (family.some(isAlive) && performance.now() < deadline) await delay(50)
  return family.filter(isAlive).map(({ name, pid }) => `${name} (${pid})`)
}

/** Ends those that are alive, whatever they would like to do first. */
export function killAll(family: readonly Process[]): void {
  for (const member of family.filter(isAlive)) process.kill(member.pid, 'SIGKILL')
}

function namespacesOf(pid: number): string[] {
  try {
    const folder = `/proc/${pid}/ns`
    return readdirSync(folder).map((name) => readlinkSync(`${folder}/${name}`))
  } catch {
    return [] // gone, or not ours
  }
}

/** The namespaces, as `net:[4026531840]`, of the family that are not this process's own. */
export function foreignNamespaces(family: readonly Process[]): Set<string> {
  const own = new Set(namespacesOf(process.pid))
  return new Set(family.flatMap(({ pid }) => namespacesOf(pid)).filter((name) => !own.has(name)))
}

/** Those of `namespaces` that some process is in, or that are mounted (as `ip netns` does). */
export function namespacesLeft(namespaces: ReadonlySet<string>): string[] {
  const used = new Set(everybody().flatMap(({ pid }) => namespacesOf(pid)))
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
  return [...namespaces].filter((name) => used.has(name) || mounts.includes(` ${name} `))
}
