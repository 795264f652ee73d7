import { constants } from 'node:fs'
import { access, readFile, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { AbortOptions } from '@mycelium/interface'
import { guestKernelArguments, isGuestReady } from '../core/guest-plan.ts'
import type { QemuAccelerator, QemuArchitecture, QemuMachine } from '../core/qemu-command.ts'
import {
  cpuModelOf,
  formatVersion,
  isOlder,
  machineTypeOf,
  missingFeatures,
  parseQemuVersion,
  qemuBinary,
  QEMU_VERSION_MIN,
  qemuPackage,
  type QemuAnswers,
  type QemuVersion,
} from '../core/qemu-probe.ts'
import { NoQemuError, QemuFeatureError, QemuStartError, QemuVersionError } from '../errors.ts'
import type { GuestImage } from '../guest/image.ts'
import { runTool } from '../guest/tools.ts'
import { connectQmp } from '../qmp/client.ts'
import { hostArchitecture } from './architecture.ts'
import { openNamelessFile } from './nameless-file.ts'
import { createQemu } from './qemu.ts'
import { createDirectSpawner, type QemuSpawner } from './spawner.ts'

export interface QemuProbeInit extends AbortOptions {
  /** @default the architecture of this machine */
  readonly architecture?: QemuArchitecture
  /** Folders, as in $PATH. @default $PATH */
  readonly searchPath?: string
}

/** An installed QEMU that can do what is needed. */
export interface QemuProbe {
  readonly architecture: QemuArchitecture
  /** Absolute path. */
  readonly binary: string
  readonly version: QemuVersion
  /** Of this version. Two hosts take that of the older QEMU. */
  readonly machineType: string
}

/** Of a QEMU that is only asked, in milliseconds. Asking takes 0.1 s. */
const ASK_LIMIT_MS = 10_000

/**
 * Finds QEMU and asks it what it can do: about 0.1 s. The caller keeps the result.
 *
 * Rejects with `ERR_ENDOPHYTE_NO_QEMU`, `ERR_ENDOPHYTE_QEMU_VERSION`, `ERR_ENDOPHYTE_QEMU_FEATURE`
 * or `ERR_ENDOPHYTE_QEMU_START`.
 */
export async function probeQemu(init: QemuProbeInit = {}): Promise<QemuProbe> {
  const architecture = init.architecture ?? hostArchitecture()
  const name = qemuBinary(architecture)
  const binary = await findProgram(name, init.searchPath ?? process.env['PATH'] ?? '')
  if (binary === undefined) {
    throw new NoQemuError({ binary: name, packageName: qemuPackage(architecture) })
  }
  const printed = await runTool(binary, ['--version'], init)
  const version = parseQemuVersion(printed.output)
  if (printed.exitCode !== 0) {
    throw new QemuStartError({ reason: `${binary} --version failed`, output: printed.complaint })
  }
  if (!version || isOlder(version, QEMU_VERSION_MIN)) {
    throw new QemuVersionError({
      binary,
      found: version ? formatVersion(version) : 'unknown',
      needed: formatVersion(QEMU_VERSION_MIN),
    })
  }
  const machineType = machineTypeOf(architecture, version)
  const missing = missingFeatures(await ask(binary, init), machineType)
  if (missing.length > 0) throw new QemuFeatureError({ binary, missing })
  return { architecture, binary, version, machineType }
}

export interface AcceleratorProbe {
  readonly accelerator: QemuAccelerator
  /** Why, for people. */
  readonly reason: string
  /** What would give this user KVM, as a command; absent where none does. */
  readonly fix?: string
}

export interface AcceleratorProbeInit extends AbortOptions {
  readonly qemu: QemuProbe
  /** What is booted. A few instructions would prove little: a KVM was seen that ran firmware and
   * boot loader but no kernel. */
  readonly image: GuestImage
  /** @default `createDirectSpawner()` */
  readonly spawner?: QemuSpawner
  /** @default '/dev/kvm' */
  readonly kvmDevice?: string
}

/** A guest with KVM is ready after 1 s; with KVM inside KVM after a few. In milliseconds. */
const KVM_PROBE_LIMIT_MS = 8_000
const KVM_PROBE_MEMORY_BYTES = 128 * 1_048_576

/**
 * `kvm` if the demo guest really boots with it, otherwise `tcg`, which runs everywhere but slower.
 * Takes 8 s at most. The caller keeps the result. Rejects only on abort.
 */
export async function probeAccelerator(init: AcceleratorProbeInit): Promise<AcceleratorProbe> {
  const { qemu, kvmDevice = '/dev/kvm', signal } = init
  const tcg = (reason: string): AcceleratorProbe => ({ accelerator: 'tcg', reason })
  signal?.throwIfAborted()
  if (qemu.architecture !== hostArchitecture()) return tcg('the guest has another architecture')
  try {
    await access(kvmDevice, constants.R_OK | constants.W_OK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') {
      return tcg(`${kvmDevice} does not exist: no hardware virtualisation here`)
    }
    const fix = await accessFix(kvmDevice)
    return { ...tcg(`${kvmDevice} may not be opened by this user`), fix }
  }
  try {
    await bootWithKvm(init)
    return { accelerator: 'kvm', reason: 'a guest boots with it' }
  } catch (error) {
    signal?.throwIfAborted()
    const words = error instanceof QemuStartError ? firstLine(error.output) : ''
    const why = words !== '' ? words : error instanceof Error ? error.message : String(error)
    return tcg(`${kvmDevice} exists but does not run a guest: ${why}`)
  }
}

/** What lets this user open a device: its group, where that may, as on Debian and Ubuntu. */
export async function accessFix(device: string, groupFile = '/etc/group'): Promise<string> {
  const { mode, gid } = await stat(device)
  const groups = await readFile(groupFile, 'utf8').catch(() => '')
  const [, name] = new RegExp(`^([^:]+):[^:]*:${gid}:`, 'm').exec(groups) ?? []
  const isForGroup = (mode & 0o060) === 0o060 && gid !== 0
  if (!isForGroup || name === undefined) return `sudo chown $USER ${device}`
  return `sudo usermod -aG ${name} $USER, then log in again`
}

async function bootWithKvm(init: AcceleratorProbeInit): Promise<void> {
  const limit = AbortSignal.timeout(KVM_PROBE_LIMIT_MS)
  const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit
  const { architecture, binary, machineType } = init.qemu
  const machine: QemuMachine = {
    architecture,
    accelerator: 'kvm',
    machineType,
    cpuModel: cpuModelOf(architecture, 'kvm'),
    memoryBytes: KVM_PROBE_MEMORY_BYTES,
    vcpus: 1,
    deviceArguments: [],
    kernelArguments: guestKernelArguments(architecture, { memoryMebibytes: 1 }),
  }
  await using memory = await openNamelessFile(machine.memoryBytes)
  await using qemu = createQemu(
    { spawner: init.spawner ?? createDirectSpawner() },
    {
      binary,
      machine,
      role: 'run',
      memoryFd: memory.fd,
      ...init.image,
    },
  )
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new Error(`it printed nothing in ${KVM_PROBE_LIMIT_MS / 1_000} s`))
    })
    qemu.addEventListener('console', ({ detail }) => {
      if (isGuestReady(detail.line)) resolve()
    })
    qemu
      .start({ signal })
      .then(async () => {
        await qemu.cont()
        await qemu.exited
        throw new Error('QEMU ended')
      })
      .catch(reject)
  })
}

async function ask(binary: string, options: AbortOptions): Promise<QemuAnswers> {
  const limit = AbortSignal.timeout(ASK_LIMIT_MS)
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit
  const args = [
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-machine',
    'none',
    '-S',
    '-chardev',
    'socket,id=qmp,fd=3',
    '-mon',
    'chardev=qmp,mode=control',
  ]
  const process = await createDirectSpawner().spawn(
    binary,
    args,
    ['ignore', 'ignore', 'ignore', 'socket'],
    { signal },
  )
  try {
    const [, , , socket] = process.sockets
    if (!socket) throw new TypeError('spawner gave no socket for QMP')
    await using qmp = await connectQmp({ socket }, { signal })
    const [commands, capabilities, machines] = await Promise.all(
      qmp.pipeline([
        { execute: 'query-commands' },
        { execute: 'query-migrate-capabilities' },
        { execute: 'query-machines' },
      ]),
    )
    return {
      commands: commands.map(({ name }) => name),
      capabilities: capabilities.map(({ capability }) => capability),
      machineTypes: machines.map(({ name }) => name),
    }
  } catch (cause) {
    options.signal?.throwIfAborted()
    const reason = `${binary} does not answer`
    throw new QemuStartError({ reason, output: String(cause) }, { cause })
  } finally {
    process.kill()
    await process.exited
  }
}

async function findProgram(name: string, searchPath: string): Promise<string | undefined> {
  for (const folder of searchPath.split(delimiter)) {
    if (!folder.startsWith('/')) continue // a relative folder would mean another program elsewhere
    const path = join(folder, name)
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path
  }
  return undefined
}

/** Without the name of the program in front. */
function firstLine(text: string): string {
  return (
    text
      .trim()
      .split('\n', 1)[0]
      ?.replace(/^\S+: /, '') ?? ''
  )
}
