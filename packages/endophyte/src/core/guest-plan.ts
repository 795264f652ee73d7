/** Where the parts of the demo guest come from, by architecture and distribution. */

import { writeCpio } from './cpio.ts'
import { consoleDevice, type QemuArchitecture } from './qemu-command.ts'

export interface GuestPlan {
  /** Debian's name of the guest's architecture. */
  readonly debianArchitecture: string
  /** An empty package that depends on the newest kernel. */
  readonly kernelMetaPackage: string
  readonly busyboxPackage: string
  /** Makes static programs for the guest. */
  readonly compiler: string
  readonly compilerPackage: string
}

/** Debian's name of an architecture. */
const DEBIAN_NAMES = { x86_64: 'amd64', aarch64: 'arm64' } as const

/**
 * @param distribution - ID of /etc/os-release
 * @param foreign - the guest has another architecture than this machine
 */
export function planGuest(
  architecture: QemuArchitecture,
  distribution: string,
  foreign: boolean,
): GuestPlan {
  const debianName = DEBIAN_NAMES[architecture]
  return {
    debianArchitecture: debianName,
    // Both are small kernels for VMs: less to read, to check and to boot.
    kernelMetaPackage:
      distribution === 'ubuntu' ? 'linux-image-virtual' : `linux-image-cloud-${debianName}`,
    busyboxPackage: 'busybox-static',
    compiler: foreign ? `${architecture}-linux-gnu-gcc` : 'cc',
    compilerPackage: foreign ? `gcc-${architecture.replace('_', '-')}-linux-gnu` : 'gcc libc6-dev',
  }
}

/** At most this many kernels are tried: the newest may be gone from the server since the last
 * `apt-get update`. */
export const KERNELS_TRIED_MAX = 3

/**
 * The kernels that a meta package depends on, newest first.
 *
 * @param records - what `apt-cache show` prints
 */
export function kernelPackages(records: string): string[] {
  const names = [...records.matchAll(/^Depends:(.*)$/gm)]
    .flatMap(([, line = '']) => line.split(','))
    .map((one) => /^\s*(linux-image-\d[\w.+~-]*)/.exec(one)?.[1])
    .filter((name) => name !== undefined)
  return [...new Set(names)].slice(0, KERNELS_TRIED_MAX)
}

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec /bin/load
`

/** The guest's whole file system, not compressed. */
export function buildInitramfs(parts: {
  readonly busybox: Uint8Array
  readonly load: Uint8Array
}): Uint8Array {
  return writeCpio([
    ...['bin', 'dev', 'proc', 'sys'].map(
      (path) => ({ type: 'directory', path, mode: 0o755 }) as const,
    ),
    // The kernel opens it for process 1 before anything is mounted.
    { type: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { type: 'file', path: 'bin/busybox', mode: 0o755, content: parts.busybox },
    { type: 'file', path: 'bin/load', mode: 0o755, content: parts.load },
    { type: 'file', path: 'init', mode: 0o755, content: new TextEncoder().encode(INIT) },
  ])
}

/** What the guest does. See guest/load.c. */
export interface GuestLoad {
  /** Working set. @default 64 */
  readonly memoryMebibytes?: number
  /** Pages written per tick. @default 400, with the default tick 2,000 in 100 ms */
  readonly pagesPerTick?: number
  /** @default 20 */
  readonly tickMs?: number
  /** Order in which pages are written. @default 1 */
  readonly seed?: number
  /** The tick at which the guest damages one of its own pages. */
  readonly corruptAtTick?: number
  readonly exit?: { readonly how: 'poweroff' | 'reboot' | 'panic'; readonly atTick: number }
}

/** The kernel's command line for the demo guest. @throws {RangeError} a number is out of bounds */
export function guestKernelArguments(architecture: QemuArchitecture, load: GuestLoad = {}): string {
  const {
    memoryMebibytes = 64,
    pagesPerTick = 400,
    tickMs = 20,
    seed = 1,
    corruptAtTick,
    exit,
  } = load
  const bounded = { memoryMebibytes, pagesPerTick, tickMs, seed, corruptAtTick, tick: exit?.atTick }
  for (const [name, value] of Object.entries(bounded)) {
    const least = name === 'pagesPerTick' || name === 'seed' ? 0 : 1
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least)) {
      throw new RangeError(`${name} must be a whole number of at least ${least}, got ${value}`)
    }
  }
  return [
    // No console output but the load's own; a panic resets the machine, so that it is seen.
    `console=${consoleDevice(architecture)}`,
    'quiet',
    'loglevel=1',
    'panic=-1',
    'nokaslr',
    `load.mib=${memoryMebibytes}`,
    `load.pages=${pagesPerTick}`,
    `load.tick=${tickMs}`,
    `load.seed=${seed}`,
    ...(corruptAtTick === undefined ? [] : [`load.corrupt=${corruptAtTick}`]),
    ...(exit ? [`load.exit=${exit.how}@${exit.atTick}`] : []),
  ].join(' ')
}

/** What the guest prints each tick. */
export interface GuestTick {
  readonly tick: number
  /** Errors seen by the guest since it booted. */
  readonly errors: number
  /** Pages written since it booted. */
  readonly pages: number
}

/** @returns undefined if the line is something else */
export function parseGuestTick(line: string): GuestTick | undefined {
  const match = /^tick (\d+) err (\d+) pages (\d+)$/.exec(line)
  if (!match) return undefined
  return { tick: Number(match[1]), errors: Number(match[2]), pages: Number(match[3]) }
}

/** The guest's first line, once its memory is filled. */
export function isGuestReady(line: string): boolean {
  return line.startsWith('READY ')
}
