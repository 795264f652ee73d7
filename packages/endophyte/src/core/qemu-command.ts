/**
 * QEMU's command line. The active and the waiting side must have the same machine to the last
 * address, so both are built here from one description; only `-incoming defer` differs.
 */

export type QemuArchitecture = 'x86_64' | 'aarch64'
export type QemuAccelerator = 'kvm' | 'tcg'

/** The machine as the guest sees it. Equal on all hosts of one VM. */
export interface QemuMachine {
  readonly architecture: QemuArchitecture
  readonly accelerator: QemuAccelerator
  /** With its version, as `pc-q35-7.2`: a name without one means another machine in each QEMU. */
  readonly machineType: string
  /** A named model with its version, never `host`: hosts differ. */
  readonly cpuModel: string
  /** A multiple of {@link MEMORY_BYTES_STEP}. */
  readonly memoryBytes: number
  readonly vcpus: number
  /** The kernel's command line. */
  readonly kernelArguments: string
  /** Further arguments for network and disk, in order; addresses must be fixed. */
  readonly deviceArguments: readonly string[]
}

/** `-m` in whole MiB, so that QEMU never rounds up and RAM stays exactly as large as its file. */
export const MEMORY_BYTES_STEP = 1_048_576
/** Under this the demo's kernel does not boot. */
export const MEMORY_BYTES_MIN: number = 64 * MEMORY_BYTES_STEP
/** 1 TiB, far above what can be replicated in time; keeps all arithmetic exact. */
export const MEMORY_BYTES_MAX: number = 2 ** 40
/** What a q35 machine takes without an interrupt remapper is 255. */
export const VCPUS_MAX = 255
/** COMMAND_LINE_SIZE of Linux on x86-64 and arm64. */
export const KERNEL_ARGUMENTS_BYTES_MAX = 2_047

/** The numbers of QEMU's descriptors. On both sides the same, because they stand in its
 * arguments. */
export const DESCRIPTOR = {
  qmp: 3,
  console: 4,
  incoming: 5,
  memory: 6,
  state: 7,
  kernel: 8,
  initrd: 9,
} as const
export const DESCRIPTOR_COUNT = 10

/** Where QEMU writes the device state: a file without a name. */
export const STATE_PATH: string = path(DESCRIPTOR.state)
/** Where a waiting QEMU reads its state. Only incoming: QEMU 7.2 takes no number for outgoing. */
export const INCOMING_URI: string = `fd:${DESCRIPTOR.incoming}`

/**
 * Everything a QEMU that runs one guest may not do. `resourcecontrol=deny` forbids scheduling and
 * affinity changes; those of the vCPU threads are made from outside.
 */
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'

/**
 * The arguments of QEMU, without its name. It starts paused.
 *
 * @param role - `wait` for a backup, which loads a state later
 * @throws {RangeError} a number or text is out of its bounds
 */
export function buildQemuArguments(machine: QemuMachine, role: 'run' | 'wait'): string[] {
  checkMachine(machine)
  const mebibytes = `${machine.memoryBytes / MEMORY_BYTES_STEP}M`
  return [
    '-nodefaults',
    '-no-user-config',
    '-sandbox',
    SANDBOX,
    '-display',
    'none',
    ...(machine.architecture === 'x86_64' ? ['-vga', 'none'] : []),
    // suppress-vmdesc: the joined stream has no description of itself at its end, and must need
    // none.
    '-machine',
    `${machine.machineType},memory-backend=mem,suppress-vmdesc=on`,
    '-accel',
    machine.accelerator,
    // enforce: rather no start than a CPU that lacks what the other side's has.
    '-cpu',
    machine.architecture === 'x86_64' ? `${machine.cpuModel},enforce` : machine.cpuModel,
    '-m',
    mebibytes,
    '-smp',
    `${machine.vcpus}`,
    // A named file, not memory-backend-memfd: from QEMU 8.1 on x-ignore-shared skips only these.
    '-object',
    `memory-backend-file,id=mem,size=${mebibytes},share=on,mem-path=${path(DESCRIPTOR.memory)}`,
    '-kernel',
    path(DESCRIPTOR.kernel),
    '-initrd',
    path(DESCRIPTOR.initrd),
    '-append',
    machine.kernelArguments,
    '-chardev',
    `socket,id=qmp,fd=${DESCRIPTOR.qmp}`,
    '-mon',
    'chardev=qmp,mode=control',
    '-chardev',
    `socket,id=console,fd=${DESCRIPTOR.console}`,
    '-serial',
    'chardev:console',
    ...machine.deviceArguments,
    // A guest that ends must not take QEMU with it: its death would call the backup.
    '-action',
    'shutdown=pause,panic=pause',
    '-S',
    ...(role === 'wait' ? ['-incoming', 'defer'] : []),
  ]
}

/** The kernel's name for the first serial port. */
export function consoleDevice(architecture: QemuArchitecture): string {
  return architecture === 'x86_64' ? 'ttyS0' : 'ttyAMA0'
}

/** A descriptor as a path: QEMU opens it anew, so permissions of the file count, not those of the
 * folders above it. */
function path(descriptor: number): string {
  return `/proc/self/fd/${descriptor}`
}

function checkMachine(machine: QemuMachine): void {
  const { memoryBytes, vcpus, machineType, cpuModel, kernelArguments } = machine
  if (
    !Number.isSafeInteger(memoryBytes) ||
    memoryBytes < MEMORY_BYTES_MIN ||
    memoryBytes > MEMORY_BYTES_MAX ||
    memoryBytes % MEMORY_BYTES_STEP !== 0
  ) {
    throw new RangeError(
      `memoryBytes must be a multiple of ${MEMORY_BYTES_STEP} from ` +
        `${MEMORY_BYTES_MIN} to ${MEMORY_BYTES_MAX}, got ${memoryBytes}`,
    )
  }
  if (!Number.isSafeInteger(vcpus) || vcpus < 1 || vcpus > VCPUS_MAX) {
    throw new RangeError(`vcpus must be 1 to ${VCPUS_MAX}, got ${vcpus}`)
  }
  for (const [name, value] of Object.entries({ machineType, cpuModel })) {
    // A comma would begin a further option.
    if (!/^[\w.-]+$/.test(value)) {
      throw new RangeError(
        `${name} must be letters, digits, '.', '_' or '-', got ` + JSON.stringify(value),
      )
    }
  }
  const bytes = new TextEncoder().encode(kernelArguments).length
  if (bytes > KERNEL_ARGUMENTS_BYTES_MAX || /[\0\n]/.test(kernelArguments)) {
    throw new RangeError(
      `kernelArguments must be one line of at most ` +
        `${KERNEL_ARGUMENTS_BYTES_MAX} bytes, got ${bytes} bytes`,
    )
  }
}
