import { createLeaseServer } from '@mycelium/endophyte'
import { createBoottimeClock } from '@mycelium/ram'

/** A lease server that lives as long as its parent. Says `ready` once it grants. */
export async function runLeaseServer(folder: string, signal: AbortSignal): Promise<number> {
  const server = createLeaseServer({ clock: createBoottimeClock() }, { folder })
  const ended = Promise.withResolvers<void>()
  process.once('disconnect', () => {
    ended.resolve()
  })
  signal.addEventListener('abort', () => {
    ended.resolve()
  })
  await server.start()
  process.send?.({ type: 'ready', socketPath: server.socketPath })
  await ended.promise
  await server.stop()
  return 0
}
