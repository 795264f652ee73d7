/** What `mycelium doctor` makes of what it found: pure, so that every machine can be tried. */

/** The findings about one machine. A `Finding` that is an error says why, and what to do. */
export interface DoctorFacts {
  /** `uname -r`. */
  readonly kernelRelease: string
  readonly architecture: string
  readonly pageBytes: number | undefined
  /** Current clock source; undefined: the kernel does not tell. */
  readonly clockSource: string | undefined
  /** Ways to find dirty pages here, best first, each proven by its self-test. */
  readonly tiers: Finding<{
    readonly works: readonly string[]
    readonly rejected: readonly { readonly tier: string; readonly reason: string }[]
  }>
  /** /proc/sys/kernel/yama/ptrace_scope; undefined: the kernel has no Yama. */
  readonly ptraceScope: number | undefined
  /** This process has CAP_SYS_PTRACE. */
  readonly mayTraceAll: boolean
  readonly isRoot: boolean
  /** Program and version. */
  readonly qemu: Finding<string>
  /** The kernel package of the guest image, which is complete. */
  readonly guestImage: Finding<string>
  /** Undefined: cannot be tried without QEMU or guest. */
  readonly accelerator:
    | { readonly name: 'kvm' | 'tcg'; readonly reason: string; readonly fix?: string | undefined }
    | undefined
  readonly memoryAvailableBytes: number | undefined
  /** The temporary folder, if a demo can work in it. */
  readonly temporaryFolder: Finding<string>
  /** A file without a name could be made in /dev/shm. */
  readonly memoryFile: Finding<true>
}

export type Finding<Value> =
  { readonly value: Value } | { readonly problem: string; readonly fix?: string }

export type CheckStatus = 'ok' | 'warn' | 'fail'

export interface DoctorCheck {
  readonly name: string
  /** `warn`: it works, but worse than it could. `fail`: the demo cannot run. */
  readonly status: CheckStatus
  readonly detail: string
  /** What to do; absent if there is nothing to do. */
  readonly fix?: string
}

export interface DoctorReport {
  /** The demo can run here. */
  readonly ok: boolean
  readonly checks: readonly DoctorCheck[]
}

/** Guests of 256 MiB: the active, its backup and the next backup, each with 150 MiB for QEMU, host
 * process and page copies. */
export const MEMORY_NEEDED_BYTES: number = 3 * (256 + 150) * 1_048_576
/** Two guests fit: the demo's first kill works, with nothing to spare. */
export const MEMORY_LEAST_BYTES: number = 2 * (256 + 150) * 1_048_576

const MEBIBYTE = 1_048_576
/** Clock sources that cost a call into the hypervisor or a slow device each time. */
const SLOW_CLOCKS: readonly string[] = ['hpet', 'acpi_pm', 'pit', 'jiffies', 'refined-jiffies']

export function examine(facts: DoctorFacts): DoctorReport {
  const checks = [
    checkKernel(facts),
    checkTiers(facts),
    checkPtrace(facts),
    checkQemu(facts),
    checkGuestImage(facts),
    checkAccelerator(facts),
    checkMemory(facts),
    checkMemoryFile(facts),
    checkTemporaryFolder(facts),
    checkUser(facts),
    checkPageSize(facts),
    checkClock(facts),
  ]
  return { ok: checks.every(({ status }) => status !== 'fail'), checks }
}

/** One line for each check: status, name, what was found, what to do. */
export function renderReport(report: DoctorReport): string[] {
  const width = Math.max(...report.checks.map(({ name }) => name.length))
  const lines = report.checks.map(({ status, name, detail, fix }) => {
    const advice = fix === undefined ? '' : `  -> ${fix}`
    return `${status.padEnd(4)}  ${name.padEnd(width)}  ${detail}${advice}`
  })
  return [...lines, report.ok ? 'the demo can run here' : 'the demo cannot run here']
}

function checkKernel({ kernelRelease, architecture }: DoctorFacts): DoctorCheck {
  const name = 'kernel'
  const [major = 0, minor = 0] = kernelRelease.split('.').map((part) => Number.parseInt(part, 10))
  const detail = `Linux ${kernelRelease}, ${architecture}`
  if (!['x86_64', 'aarch64'].includes(architecture)) {
    return { name, status: 'fail', detail, fix: 'use a 64-bit x86 or ARM machine' }
  }
  // userfaultfd WP_ASYNC and PAGEMAP_SCAN came with 6.7, on arm64 write protection with 6.10.
  const minorNeeded = architecture === 'aarch64' ? 10 : 7
  if (major > 6 || (major === 6 && minor >= minorNeeded)) return { name, status: 'ok', detail }
  return {
    name,
    status: 'warn',
    detail,
    fix:
      `Linux 6.${minorNeeded} or newer finds changed pages many times faster ` +
      '(Debian 12: linux-image-amd64 from bookworm-backports; Ubuntu 24.04 has 6.8)',
  }
}

function checkTiers({ tiers }: DoctorFacts): DoctorCheck {
  const name = 'dirty pages'
  if ('problem' in tiers) return failed(name, tiers)
  const { works, rejected } = tiers.value
  const tested = works.length === 1 ? 'which passed its self-test' : 'each passed its self-test'
  const working = `found by --tier ${works.join(', ')}, ${tested}`
  const detail = [working, ...rejected.map((one) => `not by ${one.tier}: ${one.reason}`)].join('; ')
  // The others are for comparison: that they do not work takes nothing away.
  if (works[0] === 'async') return { name, status: 'ok', detail }
  return { name, status: works.length === 0 ? 'fail' : 'warn', detail, fix: 'see kernel' }
}

function checkPtrace({ ptraceScope, mayTraceAll }: DoctorFacts): DoctorCheck {
  const name = 'ptrace'
  const scope = ptraceScope === undefined ? 'no Yama' : `ptrace_scope ${ptraceScope}`
  // The host process is an ancestor of its QEMU, which scope 1 allows; scope 3 allows nobody.
  if (ptraceScope === undefined || ptraceScope < 2 || (ptraceScope === 2 && mayTraceAll)) {
    return { name, status: 'ok', detail: `${scope}: QEMU may be asked for its page tracking` }
  }
  return {
    name,
    status: 'warn',
    detail: `${scope}: QEMU is asked through a preloaded library instead`,
    fix: 'sudo sysctl kernel.yama.ptrace_scope=1',
  }
}

function checkQemu({ qemu }: DoctorFacts): DoctorCheck {
  const name = 'QEMU'
  return 'problem' in qemu ? failed(name, qemu) : { name, status: 'ok', detail: qemu.value }
}

function checkGuestImage({ guestImage }: DoctorFacts): DoctorCheck {
  const name = 'guest image'
  if ('problem' in guestImage) return failed(name, guestImage)
  return { name, status: 'ok', detail: `${guestImage.value}, busybox, load program` }
}

function checkAccelerator({ accelerator }: DoctorFacts): DoctorCheck {
  const name = 'KVM'
  if (!accelerator) {
    return { name, status: 'warn', detail: 'not tried: QEMU or the guest image is missing' }
  }
  const {
    reason,
    fix = 'use a machine with hardware virtualisation for speed; nothing is needed for the demo',
  } = accelerator
  if (accelerator.name === 'kvm') return { name, status: 'ok', detail: reason }
  return {
    name,
    status: 'warn',
    detail: `not used, guests are emulated (slower): ${reason}`,
    fix,
  }
}

function checkMemory({ memoryAvailableBytes }: DoctorFacts): DoctorCheck {
  const name = 'memory'
  if (memoryAvailableBytes === undefined) {
    return { name, status: 'warn', detail: 'the kernel does not tell how much is free' }
  }
  const detail = `${Math.floor(memoryAvailableBytes / MEBIBYTE)} MiB available`
  if (memoryAvailableBytes >= MEMORY_NEEDED_BYTES) return { name, status: 'ok', detail }
  const isTooSmall = memoryAvailableBytes < MEMORY_LEAST_BYTES
  return {
    name,
    status: isTooSmall ? 'fail' : 'warn',
    detail,
    fix:
      `free ${Math.ceil(MEMORY_NEEDED_BYTES / MEBIBYTE)} MiB for guests of 256 MiB, or use ` +
      'smaller guests',
  }
}

function checkMemoryFile({ memoryFile }: DoctorFacts): DoctorCheck {
  const name = '/dev/shm'
  if ('problem' in memoryFile) return failed(name, memoryFile)
  return { name, status: 'ok', detail: 'takes files without a name' }
}

function checkTemporaryFolder({ temporaryFolder }: DoctorFacts): DoctorCheck {
  const name = 'TMPDIR'
  if ('problem' in temporaryFolder) return failed(name, temporaryFolder)
  return { name, status: 'ok', detail: `${temporaryFolder.value} takes the demo's folder` }
}

function checkUser({ isRoot }: DoctorFacts): DoctorCheck {
  const detail = isRoot
    ? 'root: QEMU runs as nobody, in a sandbox'
    : 'not root: QEMU runs as you, in a sandbox'
  return { name: 'user', status: 'ok', detail }
}

function checkPageSize({ pageBytes }: DoctorFacts): DoctorCheck {
  const name = 'page size'
  if (pageBytes === 4_096) return { name, status: 'ok', detail: '4096 bytes' }
  if (pageBytes === undefined) {
    return { name, status: 'warn', detail: 'the kernel does not tell it' }
  }
  return {
    name,
    status: 'warn',
    detail: `${pageBytes} bytes: one changed byte makes as many bytes travel`,
    fix: 'use a kernel with pages of 4096 bytes on all hosts of a VM',
  }
}

function checkClock({ clockSource }: DoctorFacts): DoctorCheck {
  const name = 'clock'
  const detail = `clock source ${clockSource ?? 'unknown'}`
  if (clockSource === undefined || !SLOW_CLOCKS.includes(clockSource)) {
    return { name, status: 'ok', detail }
  }
  return {
    name,
    status: 'warn',
    detail: `${detail} is slow`,
    fix: 'see why the kernel does not trust the TSC: sudo dmesg | grep -i tsc',
  }
}

function failed(name: string, finding: { problem: string; fix?: string }): DoctorCheck {
  const { problem: detail, fix } = finding
  return { name, status: 'fail', detail, ...(fix !== undefined && { fix }) }
}
