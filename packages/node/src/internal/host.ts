import {
  createEndophyteHost,
  createLeaseClient,
  type EndophyteHost,
  type LeaseClient,
} from '@mycelium/endophyte'
import {
  createBoottimeClock,
  createSystemRandom,
  createUnixChannels,
  type UnixChannels,
} from '@mycelium/ram'
import {
  HOST_EVENT_NAMES,
  type HostCommand,
  type HostConfig,
  type HostEvent,
} from './host-protocol.ts'

/**
 * A backup is given up after two silent seconds: output waits for it so long. A stall of the
 * machine for less than one is borne.
 */
const CHANNEL_TIMES = { keepAliveMs: 200, silenceMs: 1_000, graceMs: 1_000 } as const

/**
 * A host process of one VM, commanded by its parent. Ends when it is told to, when its VM ends, or
 * when the parent is gone; a guest never outlives it (see the guard).
 */
export async function runHost(signal: AbortSignal): Promise<number> {
  if (process.send === undefined)
    throw new TypeError('internal host needs a parent that commands it')
  const tell = (event: HostEvent): void => {
    // A parent that is gone is seen as `disconnect`; what it would have heard matters no more.
    if (process.connected) process.send?.(event, undefined, {}, () => {})
  }
  const ended = Promise.withResolvers<void>()
  let parts: HostParts | undefined
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
          parts = makeHost(message.config, tell)
          void serve(parts, message.config, tell).then(ended.resolve, fail)
        } catch (error) {
          fail(error)
        }
        break
      case 'peers':
        parts?.host.setPeers(message.peers)
        break
      case 'hashing':
        parts?.host.setHashing(message.isOn)
        break
      case 'stop':
        ended.resolve()
        break
    }
  }
  process.on('message', command)
  process.once('disconnect', () => {
    ended.resolve()
  })
  signal.addEventListener('abort', () => {
    ended.resolve()
  })
  await ended.promise
  // Each in its turn, whatever happens to the others: an open socket would keep this process alive.
  try {
    await parts?.host.stop()
  } finally {
    await Promise.allSettled([parts?.leases.stop(), parts?.channels.stop()])
  }
  return 0
}

interface HostParts {
  readonly host: EndophyteHost
  readonly leases: LeaseClient
  readonly channels: UnixChannels
}

/** Until the VM does not run or wait here any more. */
async function serve(
  { host, channels }: HostParts,
  { role }: HostConfig,
  tell: (event: HostEvent) => void,
): Promise<void> {
  await channels.start()
  await (role === 'active' ? host.startActive() : host.startBackup())
  tell({ type: 'ready' })
  const reason = await host.ended
  const { code } = (reason ?? {}) as { code?: string }
  tell({
    type: 'ended',
    ...(reason && { text: reason.message }),
    ...(code !== undefined && { code }),
  })
}

function makeHost(config: HostConfig, tell: (event: HostEvent) => void): HostParts {
  const clock = createBoottimeClock()
  const { self, channelFolder, leaseSocket } = config
  const { qemu, accelerator, guest, memoryBytes, kernelArguments, deviceArguments } = config
  const leases = createLeaseClient({ clock }, { self, socketPath: leaseSocket })
  const channels = createUnixChannels(
    { clock, random: createSystemRandom() },
    { local: self, folder: channelFolder, ...CHANNEL_TIMES },
  )
  const host = createEndophyteHost(
    {
      leases,
      channels,
      clock,
      machine: {
        qemu,
        accelerator,
        guest,
        memoryBytes,
        kernelArguments,
        leaseSocket,
        ...(deviceArguments && { deviceArguments }),
      },
    },
    { ...config, peers: [], verify: true },
  )
  for (const name of HOST_EVENT_NAMES) {
    host.addEventListener(name, ({ detail }) => {
      tell({ type: 'event', name, detail, at: clock.now() } as HostEvent)
    })
  }
  return { host, leases, channels }
}
