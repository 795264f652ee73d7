import { createHash } from 'node:crypto'
import {
  access,
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { AbortOptions } from '@mycelium/interface'
import { buildInitramfs, kernelPackages, planGuest, type GuestPlan } from '../core/guest-plan.ts'
import type { QemuArchitecture } from '../core/qemu-command.ts'
import { GuestImageError, NoCompilerError } from '../errors.ts'
import { LOAD_SOURCE_PATH, loadProgramPath, PREBUILDS_FOLDER } from '../guest-files.ts'
import { hostArchitecture } from '../qemu/architecture.ts'
import { createAptDownloads } from './apt.ts'
import { runTool } from './tools.ts'

/** Files of the demo guest; readable by everybody, so that an unprivileged QEMU can open them. */
export interface GuestImage {
  readonly kernelPath: string
  readonly initrdPath: string
  /** Of the kernel: the name of its package. */
  readonly kernelPackage: string
}

export interface GuestImageInit extends AbortOptions {
  /** @default the architecture of this machine */
  readonly architecture?: QemuArchitecture
  /** @default $XDG_CACHE_HOME/mycelium or ~/.cache/mycelium */
  readonly cacheFolder?: string
  /** Where the tools are, as in $PATH. @default $PATH */
  readonly searchPath?: string
  /** Where the load program lies compiled; it is compiled here if it does not. @default our own */
  readonly prebuildsFolder?: string
  /** Called with one line when something slow begins. */
  readonly onProgress?: (line: string) => void
}

/** Changes when the content of the folder with the unpacked packages changes its form. */
const PACKAGES_FORMAT = 1
/** Complete folders of one kind that are kept; the oldest go. */
export const GUEST_FOLDERS_MAX = 3
/** A temporary folder older than this was left by somebody who was killed, in milliseconds. */
export const TEMPORARY_AGE_MAX_MS = 3_600_000

/**
 * The image of the demo guest, from the cache or made now: kernel and busybox of the distribution
 * (downloaded and unpacked, never installed; no root needed), the load program (shipped; compiled
 * where it was not), and the initramfs. Callers may run at the same time: each works in a folder of
 * its own, and the first to rename it wins.
 *
 * Rejects with `ERR_ENDOPHYTE_GUEST_IMAGE` or `ERR_ENDOPHYTE_NO_COMPILER`, each with what to do.
 */
export async function prepareGuestImage(init: GuestImageInit = {}): Promise<GuestImage> {
  const architecture = init.architecture ?? hostArchitecture()
  const cache = init.cacheFolder ?? defaultCacheFolder()
  const plan = planGuest(architecture, await distribution(), architecture !== hostArchitecture())
  await mkdir(cache, { recursive: true, mode: 0o700 })
  await sweep(cache)
  const packages = await madeOnce(
    cache,
    `guest-packages-${PACKAGES_FORMAT}-${architecture}`,
    (folder) => fetchPackages(folder, plan, init),
  )
  const shipped = await shippedLoad(architecture, init)
  const busybox = await readFile(join(packages, 'busybox'))
  // What the initramfs is made from names it: a changed part means another folder.
  const parts = buildInitramfs({ busybox, load: shipped ?? (await readFile(LOAD_SOURCE_PATH)) })
  const name = createHash('sha256').update(parts).digest('hex').slice(0, 16)
  const image = await madeOnce(cache, `guest-image-${architecture}-${name}`, async (folder) => {
    const load = shipped ?? (await compileLoad(folder, plan, init))
    const initramfs = await promisify(gzip)(buildInitramfs({ busybox, load }))
    await writeFile(join(folder, 'initrd.gz'), initramfs, { mode: 0o644 })
  })
  return {
    kernelPath: join(packages, 'vmlinuz'),
    initrdPath: join(image, 'initrd.gz'),
    kernelPackage: (await readFile(join(packages, 'kernel-package'), 'utf8')).trim(),
  }
}

function defaultCacheFolder(): string {
  const xdg = process.env['XDG_CACHE_HOME']
  return join(xdg === undefined || xdg === '' ? join(homedir(), '.cache') : xdg, 'mycelium')
}

/** Makes `cache/name` by `make` in a temporary folder and a rename, unless it is there already. */
async function madeOnce(
  cache: string,
  name: string,
  make: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = join(cache, name)
  if (await exists(folder)) return folder
  const temporary = await mkdtemp(join(cache, 'temporary-'))
  try {
    await make(temporary)
    await rename(temporary, folder)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    // Somebody else was faster: theirs is as good.
    if (await exists(folder)) return folder
    throw error
  }
  await keepNewest(cache, name.replace(/[^-]*$/, ''))
  return folder
}

async function fetchPackages(folder: string, plan: GuestPlan, init: GuestImageInit): Promise<void> {
  const download = join(folder, 'download')
  await mkdir(download)
  const packages = createAptDownloads(download, plan.debianArchitecture, init)
  const kernel = await packages.download(`the kernel of ${plan.kernelMetaPackage}`, async (show) =>
    kernelPackages(await show(plan.kernelMetaPackage)),
  )
  const kernelTree = join(download, 'kernel')
  await unpack(kernel.file, kernelTree, init)
  const boot = join(kernelTree, 'boot')
  const image = (await readdir(boot)).find((name) => name.startsWith('vmlinuz-'))
  if (image === undefined) throw broken(`${kernel.name} holds no kernel`)
  await copyReadable(join(boot, image), join(folder, 'vmlinuz'))
  const busybox = await packages.download(plan.busyboxPackage, () => [plan.busyboxPackage])
  const busyboxTree = join(download, 'busybox')
  await unpack(busybox.file, busyboxTree, init)
  // Debian 13 and Ubuntu 24.04 have moved /bin into /usr.
  const programs = ['bin/busybox', 'usr/bin/busybox'].map((path) => join(busyboxTree, path))
  const program = await firstThatExists(programs)
  if (program === undefined) throw broken(`${busybox.name} holds no busybox`)
  await copyReadable(program, join(folder, 'busybox'))
  await writeFile(join(folder, 'kernel-package'), `${kernel.name}\n`)
  await rm(download, { recursive: true })
}

async function unpack(file: string, folder: string, init: GuestImageInit): Promise<void> {
  const result = await runTool('dpkg-deb', ['-x', file, folder], init)
  if (result.exitCode !== 0) throw broken(`dpkg-deb: ${result.complaint}`)
}

async function shippedLoad(
  architecture: QemuArchitecture,
  { prebuildsFolder = PREBUILDS_FOLDER }: GuestImageInit,
): Promise<Uint8Array | undefined> {
  const path = loadProgramPath(prebuildsFolder, architecture)
  return (await exists(path)) ? await readFile(path) : undefined
}

/** @returns the static program */
async function compileLoad(
  folder: string,
  plan: GuestPlan,
  init: GuestImageInit,
): Promise<Uint8Array> {
  init.onProgress?.('compiling the load program of the guest')
  const output = join(folder, 'load')
  const args = ['-std=gnu17', '-O2', '-static', '-o', output, LOAD_SOURCE_PATH]
  const result = await runTool(plan.compiler, args, init)
  if (result.exitCode === undefined) {
    throw new NoCompilerError({ compiler: plan.compiler, packageName: plan.compilerPackage })
  }
  if (result.exitCode !== 0) {
    throw new GuestImageError({
      reason: `${plan.compiler} cannot compile ${LOAD_SOURCE_PATH}: ${result.complaint}`,
      fix: `sudo apt-get install ${plan.compilerPackage}`,
    })
  }
  return await readFile(output)
}

/** Removes what killed runs left. */
async function sweep(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!name.startsWith('temporary-')) continue
    const path = join(cache, name)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > TEMPORARY_AGE_MAX_MS)
      await rm(path, { recursive: true, force: true })
  }
}

async function keepNewest(cache: string, prefix: string): Promise<void> {
  const names = (await readdir(cache)).filter((name) => name.startsWith(prefix))
  const ages = await Promise.all(
    names.map(async (name) => ({ name, mtimeMs: (await stat(join(cache, name))).mtimeMs })),
  )
  ages.sort((left, right) => right.mtimeMs - left.mtimeMs)
  for (const { name } of ages.slice(GUEST_FOLDERS_MAX)) {
    await rm(join(cache, name), { recursive: true, force: true })
  }
}

async function distribution(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return /^ID="?([\w-]+)"?$/m.exec(text)?.[1] ?? 'debian'
}

async function copyReadable(from: string, to: string): Promise<void> {
  await copyFile(from, to)
  await chmod(to, 0o644)
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}

async function firstThatExists(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await exists(path)) return path
  return undefined
}

function broken(reason: string): GuestImageError {
  return new GuestImageError({ reason, fix: `remove ${dirname(defaultCacheFolder())}/mycelium` })
}
