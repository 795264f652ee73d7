import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { createDemoFolder, SWEPT_MAX, sweepDemoFolders } from '../../src/demo/folder.ts'

const PROGRAM = fileURLToPath(new URL('../programs/demo-folder.ts', import.meta.url))
const isRoot = process.getuid?.() === 0

let parent: string
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'mycelium-test-'))
  onTestFinished(() => {
    rmSync(parent, { recursive: true })
  })
})

/** The folder of a demo in a process of its own. */
async function demoElsewhere(): Promise<{ name: string; kill(): Promise<void> }> {
  const child = spawn(process.execPath, ['--conditions=@mycelium/source', PROGRAM, parent], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [path] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return {
    name: basename(path),
    kill: async () => {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** The mark of a process that is gone. */
async function deadOwner(): Promise<string> {
  const { name, kill } = await demoElsewhere()
  const mark = readFileSync(join(parent, name, 'owner'), 'utf8')
  await kill()
  rmSync(join(parent, name), { recursive: true })
  return mark
}

function abandoned(name: string, mark: string | undefined): void {
  mkdirSync(join(parent, name), { mode: 0o700 })
  if (mark !== undefined) writeFileSync(join(parent, name, 'owner'), mark)
}

describe('the folder of a demo', () => {
  it('is private, and goes with its demo', async () => {
    {
      await using folder = await createDemoFolder(parent)
      expect(statSync(folder.path).mode & 0o777).toBe(0o700)
      expect(readdirSync(folder.path)).toEqual(['owner'])
      mkdirSync(join(folder.path, 'leases'))
    }
    expect(readdirSync(parent)).toEqual([])
  })

  it.each([
    [
      '/nowhere',
      'the temporary folder /nowhere does not exist',
      'mkdir -p /nowhere, or set TMPDIR',
    ],
    ['/dev/null', 'the temporary folder /dev/null does not exist', /./],
    // Not even root may write there.
    ['/sys', /^the temporary folder \/sys cannot be written \(E\w+\)/, /may write$/],
    [`/tmp/${'long/'.repeat(20)}`, /has a path that is \d+ bytes too long/, /shorter path$/],
  ])('in %s: says what is wrong, and what to do', async (folder, problem, fix) => {
    await expect(createDemoFolder(folder)).rejects.toMatchObject({
      code: 'ERR_NODE_NOT_READY',
      message: expect.stringMatching(problem) as string,
      fix: expect.stringMatching(fix) as string,
    })
  })

  const mounting = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt'])
  const reason = mounting.status === 0 ? '' : ' (not tried: needs the right to mount)'
  it.skipIf(mounting.status !== 0)(`on a full disk: says so, and leaves nothing${reason}`, () => {
    const program = `import('${new URL('../../src/demo/folder.ts', import.meta.url).href}').then(
      ({ createDemoFolder }) => createDemoFolder('${parent}')).catch((error) => {
      console.log(error.message, require('node:fs').readdirSync('${parent}').length) })`
    const mount = `mount -t tmpfs -o size=256k none ${parent} && exec "$@"`
    const node = [process.execPath, '--conditions=@mycelium/source', '--eval', program]
    const { stdout } = spawnSync('unshare', ['--mount', 'sh', '-c', mount, 'sh', ...node], {
      encoding: 'utf8',
    })
    expect(stdout).toBe(
      `the temporary folder ${parent} has no room for 1 MiB. ` +
        'To do: free some, or set TMPDIR to a folder with room 0\n',
    )
  })
})

describe('folders that killed demos left', () => {
  it('go with the next demo, and never while their owner lives', async () => {
    const { name, kill } = await demoElsewhere()
    await using own = await createDemoFolder(parent)
    await sweepDemoFolders(parent)
    expect(readdirSync(parent).toSorted()).toEqual([name, basename(own.path)].toSorted())
    await kill()
    await sweepDemoFolders(parent)
    expect(readdirSync(parent)).toEqual([basename(own.path)])
  })

  it('go also when nobody has noticed yet that their owner is dead', async () => {
    // The program that the shell becomes does not wait for children that it did not start.
    const script = '"$@" & exec sleep 600'
    const command = [process.execPath, '--conditions=@mycelium/source', PROGRAM, parent]
    const sleeper = spawn('sh', ['-c', script, 'sh', ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void sleeper.kill('SIGKILL'))
    const [path] = (await once(createInterface({ input: sleeper.stdout }), 'line')) as [string]
    const [pid = ''] = readFileSync(join(path, 'owner'), 'utf8').split(' ')
    process.kill(Number(pid), 'SIGKILL')
    while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) await nextTurn()
    await sweepDemoFolders(parent)
    expect(readdirSync(parent)).toEqual([])
  })

  it('stay where it is not certain that nobody uses them', async () => {
    const mark = await deadOwner()
    const [pid, start, boot, space] = mark.split(' ')
    abandoned('mycelium-demo-unmarked', undefined)
    abandoned('mycelium-demo-empty', '')
    abandoned('mycelium-demo-nonsense', 'what is this?')
    abandoned('mycelium-demo-boot', [pid, start, 'another-boot', space].join(' '))
    abandoned('mycelium-demo-space', [pid, start, boot, 'pid:[1]'].join(' '))
    abandoned('mycelium-demo-open', mark)
    chmodSync(join(parent, 'mycelium-demo-open'), 0o755)
    abandoned('something-else', mark)
    symlinkSync('something-else', join(parent, 'mycelium-demo-link'))
    abandoned('mycelium-demo-linked-owner', undefined)
    symlinkSync('../something-else/owner', join(parent, 'mycelium-demo-linked-owner', 'owner'))
    if (isRoot) {
      abandoned('mycelium-demo-others', mark)
      chownSync(join(parent, 'mycelium-demo-others'), 65_534, 65_534)
    }
    const before = readdirSync(parent).toSorted()
    await sweepDemoFolders(parent)
    expect(readdirSync(parent).toSorted()).toEqual(before)
    // The mark itself is one of a process that is gone.
    abandoned('mycelium-demo-dead', mark)
    await sweepDemoFolders(parent)
    expect(readdirSync(parent).toSorted()).toEqual(before)
  })

  it('stay where others may move them', async () => {
    abandoned('mycelium-demo-dead', await deadOwner())
    chmodSync(parent, 0o777)
    await sweepDemoFolders(parent)
    expect(readdirSync(parent)).toEqual(['mycelium-demo-dead'])
    chmodSync(parent, 0o1777)
    await sweepDemoFolders(parent)
    expect(readdirSync(parent)).toEqual([])
  })

  it('are removed with what is in them, no link followed, a bounded number at a time', async () => {
    const mark = await deadOwner()
    const kept = mkdtempSync(join(tmpdir(), 'mycelium-test-'))
    onTestFinished(() => {
      rmSync(kept, { recursive: true })
    })
    writeFileSync(join(kept, 'file'), '')
    for (let number = 0; number <= SWEPT_MAX; number++) {
      const name = `mycelium-demo-${number}`
      abandoned(name, mark)
      symlinkSync(kept, join(parent, name, 'link'))
    }
    await sweepDemoFolders(parent)
    expect(readdirSync(parent)).toHaveLength(1)
    expect(readdirSync(kept)).toEqual(['file'])
    await sweepDemoFolders(parent)
    expect(readdirSync(parent)).toEqual([])
  })

  it('in no folder at all: nothing', async () => {
    await sweepDemoFolders('/nowhere')
  })
})
