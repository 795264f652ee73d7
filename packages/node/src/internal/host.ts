import { createEndophyteHost, createLeaseClient, type EndophyteHost } from '@mycelium/endophyte'
import { createBoottimeClock, createUnixChannels } from '@mycelium/ram'
import { HOST_EVENT_NAMES, type HostCommand, type HostConfig, type HostEvent } from './host-protocol.ts'

/**
 * A host process of one VM, commanded by its parent. Ends when it is told to, when its VM ends, or
 * when the parent is gone; a guest never outlives it (see the guard).
 */
export async function runHost(signal: AbortSignal): Promise<number> {
  const { send } = process
  if (send === undefined) throw new TypeError('internal host needs a parent that commands it')
  const tell = (event: HostEvent): void => {
    // A parent that is gone is seen as `disconnect`; what it would have heard matters no more.
    if (process.connected) send.call(process, event, undefined, {}, () => {})
  }
  const ended = Promise.withResolvers<void>()
  let host: EndophyteHost | undefined
  let release: () => Promise<void> = () => Promise.resolve()
  const fail = (error: unknown): void => {
    const text = error instanceof Error ? error.message : String(error)
    const { code } = error as { code?: string }
    tell({ type: 'ended', text, ...(code !== undefined && { code }) })
    ended.resolve()
  }
  const command = (message: HostCommand): void => {
    switch (message.type) {
      case 'configure':
        try {
          const made = makeHost(message.config, tell)
          host = made.host
          release = made.release
          void start(made.host, message.config, tell, ended.resolve).catch(fail)
        } catch (error) {
          fail(error)
        }
        break
      case 'peers':
        host?.setPeers(message.peers)
        break
      case 'hashing':
        host?.setHashing(message.isOn)
        break
      case 'stop':
        ended.resolve()
        break
    }
  }
  process.on('message', command)
  process.once('disconnect', () => { ended.resolve() })
  signal.addEventListener('abort', () => { ended.resolve() })
  await ended.promise
  await host?.stop()
  await release()
  if (process.connected) process.disconnect()
  return 0
}

async function start(
  host: EndophyteHost,
  { role }: HostConfig,
  tell: (event: HostEvent) => void,
  end: () => void,
): Promise<void> {
  await (role === 'active' ? host.startActive() : host.startBackup())
  tell({ type: 'ready' })
  const reason = await host.ended
  const { code } = (reason ?? {}) as { code?: string }
  tell({
    type: 'ended',
    ...(reason && { text: reason.message }),
    ...(code !== undefined && { code }),
  })
  end()
}

function makeHost(
  config: HostConfig,
  tell: (event: HostEvent) => void,
): { readonly host: EndophyteHost; readonly release: () => Promise<void> } {
  const clock = createBoottimeClock()
  const { self, channelFolder, leaseSocket, guest, memoryBytes, kernelArguments } = config
  const leases = createLeaseClient({ clock }, { self, socketPath: leaseSocket })
  const channels = createUnixChannels({ clock }, { self, folder: channelFolder })
  const host = createEndophyteHost(
    {
      leases,
      channels,
      clock,
      machine: { guest, memoryBytes, kernelArguments, leaseSocket },
    },
    { ...config, peers: [], verify: true },
  )
  for (const name of HOST_EVENT_NAMES) {
    host.addEventListener(name, ({ detail }) => {
      tell({ type: 'event', name, detail, at: clock.now() } as HostEvent)
    })
  }
  const release = async (): Promise<void> => {
    await leases.stop()
    await channels.stop()
  }
  return { host, release }
}
