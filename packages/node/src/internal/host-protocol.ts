/**
 * What a command and the host processes that it starts say to each other, over Node's channel to a
 * child (structured clones, so bigints travel).
 */
import type { EndophyteEvents, GuestFiles, QemuAccelerator, QemuProbe } from '@mycelium/endophyte'
import type { MonotonicMs, NodeId } from '@mycelium/interface'
import type { Compression, TrackerTierName } from '@mycelium/ram'

export interface HostConfig {
  readonly vm: string
  readonly self: NodeId
  readonly role: 'active' | 'backup'
  /** 0700; sockets of the channels between hosts. */
  readonly channelFolder: string
  readonly leaseSocket: string
  readonly qemu: QemuProbe
  readonly accelerator: QemuAccelerator
  readonly guest: GuestFiles
  readonly kernelArguments: string
  readonly memoryBytes: number
  readonly intervalMs: number
  readonly ttlMs: number
  /** Further arguments of QEMU. */
  readonly deviceArguments?: readonly string[]
  readonly tier?: TrackerTierName
  readonly compression?: Compression
}

export type HostCommand =
  | { readonly type: 'configure'; readonly config: HostConfig }
  | { readonly type: 'peers'; readonly peers: readonly NodeId[] }
  | { readonly type: 'hashing'; readonly isOn: boolean }
  | { readonly type: 'stop' }

export type HostEvent =
  | {
      [Name in keyof EndophyteEvents]: {
        readonly type: 'event'
        readonly name: Name
        readonly detail: EndophyteEvents[Name]
        readonly at: MonotonicMs
      }
    }[keyof EndophyteEvents]
  /** The role is taken up: booted, or waiting. */
  | { readonly type: 'ready' }
  /** It failed, or the VM does not run or wait here any more. The process exits afterwards. */
  | { readonly type: 'ended'; readonly code?: string; readonly text?: string }

/** The names of all events, so that every one is forwarded; the type keeps the list complete. */
export const HOST_EVENT_NAMES = Object.keys({
  status: 0,
  reset: 0,
  lease: 0,
  machine: 0,
  tracker: 0,
  backup: 0,
  'in-sync': 0,
  epoch: 0,
  console: 0,
  output: 0,
  applied: 0,
  'refused-takeover': 0,
  takeover: 0,
} satisfies Record<keyof EndophyteEvents, 0>) as readonly (keyof EndophyteEvents)[]
