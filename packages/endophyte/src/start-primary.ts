import type { AbortOptions, Clock } from '@mycelium/interface'
import { createPrimary, MemoryError, type RamPrimary, type RamPrimaryInit } from '@mycelium/ram'
import type { Machine } from './machine.ts'

/**
 * A primary for the memory of a machine, started, with the best tracking that can be had: by a
 * userfaultfd that is made in QEMU by ptrace, or, where that is forbidden, by the preloaded shim.
 *
 * Rejects as {@link RamPrimary}'s `start` does.
 */
export async function startPrimary(
  machine: Pick<Machine, 'region' | 'writerPid' | 'shimSocketFd'>,
  clock: Clock,
  init: Omit<RamPrimaryInit, 'writer'>,
  options: AbortOptions = {},
): Promise<RamPrimary> {
  const { region, writerPid: pid, shimSocketFd } = machine
  const start = async (changes: Omit<RamPrimaryInit, 'fencing'>): Promise<RamPrimary> => {
    const primary = createPrimary({ region, clock }, { ...init, ...changes })
    await primary.start(options)
    return primary
  }
  if (pid === undefined) return await start({})
  const mayBeAsync = init.tier === undefined || init.tier === 'async'
  if (shimSocketFd === undefined || !mayBeAsync) return await start({ writer: { pid } })
  try {
    // Asked for alone it fails at once, before anything is copied.
    return await start({ writer: { pid }, tier: 'async' })
  } catch (error) {
    options.signal?.throwIfAborted()
    if (!(error instanceof MemoryError)) throw error
    if (!mustNotTrace(error)) return await start({ writer: { pid } })
  }
  try {
    return await start({ writer: { pid, method: 'shim', shimSocketFd }, tier: 'async' })
  } catch (error) {
    options.signal?.throwIfAborted()
    if (!(error instanceof MemoryError)) throw error
    // It tells what is to be done so that the usual way works.
    return await start({ writer: { pid } })
  }
}

function mustNotTrace({ cause }: MemoryError): boolean {
  return cause instanceof Error && cause.message.includes('not permitted to trace')
}
