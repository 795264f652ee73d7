import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  GUEST_FOLDERS_MAX,
  type GuestImage,
  type GuestImageInit,
  prepareGuestImage as prepare,
  TEMPORARY_AGE_MAX_MS,
} from '../../src/guest/image.ts'

let folder: string
let tools: string
let cacheFolder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mycelium-test-'))
  tools = join(folder, 'tools')
  cacheFolder = join(folder, 'cache')
  await mkdir(tools)
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

/** Without a load program that was compiled before. */
const prepareGuestImage = (init: GuestImageInit): Promise<GuestImage> =>
  prepare({ prebuildsFolder: join(folder, 'prebuilds'), ...init })

async function tool(name: string, script: string): Promise<void> {
  await writeFile(join(tools, name), `#!/bin/sh\necho "${name} $*" >> ${folder}/log\n${script}\n`)
  await chmod(join(tools, name), 0o755)
}

async function log(): Promise<string[]> {
  return (await readFile(join(folder, 'log'), 'utf8')).trim().split('\n')
}

/**
 * The last two arguments of apt-get decide; the options before them do not matter to a fake. Lists
 * that the user fetched for himself are seen by their option.
 */
const APT_GET =
  'for last; do :; done; case "$*" in *--version*|*update) ;; *) touch "$last.deb" ;; esac'
/** Fails for `name`, otherwise as apt-get does. */
const aptGetWithout = (name: string): string =>
  `case "$*" in *download*${name}*) echo "E: 404" >&2; exit 100 ;; esac; ${APT_GET}`

/** Tools that behave as those of Debian do, with small files. */
async function fakeTools(): Promise<string> {
  await tool('dpkg', 'echo amd64')
  await tool('apt-cache', 'echo "Depends: linux-image-6.1.0-9-cloud-amd64 (= 1)"')
  await tool('apt-get', APT_GET)
  await tool(
    'dpkg-deb',
    `case $2 in
      *linux-image*) mkdir -p "$3/boot"; echo kernel > "$3/boot/vmlinuz-6.1.0-9" ;;
      *) mkdir -p "$3/usr/bin"; echo busybox > "$3/usr/bin/busybox" ;;
    esac`,
  )
  await tool('cc', 'while [ "$1" != -o ]; do shift; done; echo load > "$2"')
  return [tools, '/usr/bin', '/bin'].join(delimiter)
}

test('makes the image once, readable for everybody, and takes it from the cache then', async () => {
  const searchPath = await fakeTools()
  const progress: string[] = []
  const onProgress = (line: string): void => {
    progress.push(line)
  }
  const init = { architecture: 'x86_64', cacheFolder, searchPath, onProgress } as const
  const image = await prepareGuestImage(init)
  expect(progress).toEqual([
    'downloading linux-image-6.1.0-9-cloud-amd64',
    'downloading busybox-static',
    'compiling the load program of the guest',
  ])
  expect(image.kernelPackage).toBe('linux-image-6.1.0-9-cloud-amd64')
  expect(await readFile(image.kernelPath, 'utf8')).toBe('kernel\n')
  const initramfs = gunzipSync(await readFile(image.initrdPath)).toString()
  expect(initramfs).toContain('busybox\n')
  expect(initramfs).toContain('load\n')
  expect(initramfs).toContain('exec /bin/load')
  for (const path of [image.kernelPath, image.initrdPath]) {
    expect((await stat(path)).mode & 0o777).toBe(0o644)
  }
  expect((await stat(cacheFolder)).mode & 0o777).toBe(0o700)
  const calls = await log()
  expect(await prepareGuestImage(init)).toEqual(image)
  expect(await log()).toEqual(calls)
})

test('several at once: one result, nothing left over', async () => {
  const searchPath = await fakeTools()
  const init = { architecture: 'x86_64', cacheFolder, searchPath } as const
  const images = await Promise.all([1, 2, 3].map(() => prepareGuestImage(init)))
  expect(new Set(images.map(({ initrdPath }) => initrdPath)).size).toBe(1)
  expect((await readdir(cacheFolder)).filter((name) => name.startsWith('temporary-'))).toEqual([])
})

test('the newest kernel is gone from the server: takes the next one', async () => {
  const searchPath = await fakeTools()
  await tool('apt-cache', 'echo "Depends: linux-image-2-x"; echo "Depends: linux-image-1-x"')
  await tool('apt-get', aptGetWithout('-2-'))
  const image = await prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath })
  expect(image.kernelPackage).toBe('linux-image-1-x')
})

test('apt-get update never ran: private lists, nothing of the system changes', async () => {
  const searchPath = await fakeTools()
  const knows = 'case "$*" in *Dir::State::lists=*) echo "Depends: linux-image-1-x" ;; esac'
  await tool('apt-cache', knows)
  const image = await prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath })
  expect(image.kernelPackage).toBe('linux-image-1-x')
  const updates = (await log()).filter((line) => line.endsWith(' update'))
  expect(updates).toHaveLength(1)
  expect(updates[0]).toContain(`-o Dir::State::lists=${cacheFolder}/temporary-`)
})

test('lists older than the server: private lists too', async () => {
  const searchPath = await fakeTools()
  const old = 'case "$*" in *Dir::State::lists=*) n=2 ;; *) n=1 ;; esac'
  await tool('apt-cache', `${old}; echo "Depends: linux-image-$n-x"`)
  await tool('apt-get', aptGetWithout('-1-'))
  const image = await prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath })
  expect(image.kernelPackage).toBe('linux-image-2-x')
})

test('a guest of another architecture: its lists, and a cross compiler', async () => {
  const searchPath = await fakeTools()
  await tool('aarch64-linux-gnu-gcc', 'while [ "$1" != -o ]; do shift; done; echo load > "$2"')
  await tool('cc', 'exit 1')
  if (process.arch !== 'x64') return // the compiler of this machine would be the right one
  await prepareGuestImage({ architecture: 'aarch64', cacheFolder, searchPath })
  const calls = await log()
  expect(calls.find((line) => line.endsWith(' update'))).toContain('-o APT::Architecture=arm64')
  expect(calls.find((line) => line.startsWith('apt-cache'))).toMatch(
    /show linux-image-cloud-arm64$/,
  )
})

test.each([
  ['no apt', 'apt-get', undefined, /apt-get is missing/],
  ['no dpkg', 'dpkg', undefined, /dpkg is missing/],
  [
    'a kernel that apt does not know',
    'apt-cache',
    'exit 0',
    /apt does not know the kernel of linux-image-/,
  ],
  [
    'a server that does not answer',
    'apt-get',
    'case "$*" in *download*) echo "E: no route" >&2; exit 100 ;; esac',
    /cannot download .*no route/,
  ],
  [
    'an update that fails',
    'apt-get',
    'case "$*" in *--version*) ;; *) echo "E: no network" >&2; exit 100 ;; esac',
    /no network/,
  ],
  ['a broken package', 'dpkg-deb', 'echo bad archive >&2; exit 2', /dpkg-deb: bad archive/],
  ['a package without a kernel', 'dpkg-deb', 'mkdir -p "$3/boot"', /holds no kernel/],
  ['a program that does not compile', 'cc', 'echo no such header >&2; exit 1', /no such header/],
])('%s: one clear error, nothing left', async (_name, name, script, message) => {
  await fakeTools()
  if (script === undefined) await rm(join(tools, name))
  else await tool(name, script)
  // Without the system's own tools; the fakes need a few of them.
  const basic = join(folder, 'basic')
  await mkdir(basic)
  for (const one of ['sh', 'mkdir', 'touch']) {
    await writeFile(join(basic, one), `#!/bin/sh\nexec /usr/bin/${one} "$@"\n`)
    await chmod(join(basic, one), 0o755)
  }
  const searchPath = [tools, basic].join(delimiter)
  const preparing = prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath })
  await expect(preparing).rejects.toThrow(message)
  await expect(preparing).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_GUEST_IMAGE' })
  expect((await readdir(cacheFolder)).filter((one) => one.startsWith('temporary-'))).toEqual([])
})

test('a shipped load program needs no compiler; another one makes another image', async () => {
  const searchPath = await fakeTools()
  await tool('cc', 'exit 1')
  const prebuilds = join(folder, 'prebuilds', 'linux-x64')
  await mkdir(prebuilds, { recursive: true })
  const images = []
  for (const load of ['one load\n', 'another load\n']) {
    await writeFile(join(prebuilds, 'mycelium-load'), load)
    const image = await prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath })
    expect(gunzipSync(await readFile(image.initrdPath)).toString()).toContain(load)
    images.push(image.initrdPath)
  }
  expect(new Set(images).size).toBe(2)
  expect((await log()).filter((line) => line.startsWith('cc '))).toEqual([])
})

test('no compiler: says which package', async () => {
  await fakeTools()
  await rm(join(tools, 'cc'))
  await tool('mkdir', 'exec /bin/mkdir "$@"')
  await tool('touch', 'exec /usr/bin/touch "$@"')
  await expect(
    prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath: tools }),
  ).rejects.toMatchObject({
    code: 'ERR_ENDOPHYTE_NO_COMPILER',
    fix: 'sudo apt-get install gcc libc6-dev',
  })
})

test('what killed runs left goes; what others do now stays; old images are bounded', async () => {
  const searchPath = await fakeTools()
  const old = new Date(Date.now() - TEMPORARY_AGE_MAX_MS - 60_000)
  for (const name of [
    'temporary-old',
    'temporary-new',
    ...[1, 2, 3, 4].map((one) => `guest-image-x86_64-${one}`),
  ]) {
    await mkdir(join(cacheFolder, name), { recursive: true })
    if (name !== 'temporary-new') await utimes(join(cacheFolder, name), old, old)
  }
  await prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath })
  const names = await readdir(cacheFolder)
  expect(names).toContain('temporary-new')
  expect(names).not.toContain('temporary-old')
  expect(names.filter((name) => name.startsWith('guest-image-'))).toHaveLength(GUEST_FOLDERS_MAX)
})

test('an abort gives its reason', async () => {
  const reason = new Error('enough')
  const signal = AbortSignal.abort(reason)
  const searchPath = await fakeTools()
  await expect(
    prepareGuestImage({ architecture: 'x86_64', cacheFolder, searchPath, signal }),
  ).rejects.toBe(reason)
})
