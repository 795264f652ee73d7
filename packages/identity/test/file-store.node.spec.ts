import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test, vi } from 'vitest'
import { createFileStore } from '../src/file-store.ts'
import type { FileStore } from '../src/file-store.ts'
import { makeFolder, noSmallDisk, runOnSmallDisk, runUntilKilled } from './disk-kit.ts'

let parent: ReturnType<typeof makeFolder>
let folder: string
beforeEach(() => {
  parent = makeFolder()
  folder = join(parent.path, 'identity')
})
afterEach(() => parent.remove())

const file = (name: string): string => join(folder, name)
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString()
const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)

async function using<T>(body: (store: FileStore) => Promise<T>): Promise<T> {
  await using store = await createFileStore({ folder })
  return await body(store)
}
const write = (...facts: readonly string[]): Promise<void> =>
  using(async (store) => {
    await store.write('tokens', bytesOf('secret'))
    for (const fact of facts) await store.appendFacts([bytesOf(fact)])
  })
const factsOf = (): Promise<string> =>
  using(async (store) => (await store.facts()).map(textOf).join())

async function codeOf(body: () => Promise<unknown>): Promise<string> {
  try {
    await body()
    return 'no error'
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}

describe('privacy', () => {
  test('a new folder is 0700 and its files 0600, whatever the umask is', async () => {
    const before = process.umask(0)
    try {
      folder = join(parent.path, 'deep', 'identity')
      await using store = await createFileStore({ folder })
      await store.write('node-key', bytesOf('secret'))
      await store.appendFacts([bytesOf('a')])
      assert.equal(mode(folder), '700')
      assert.equal(mode(join(parent.path, 'deep')), '700')
      for (const name of ['node-key', 'facts.log', 'lock']) assert.equal(mode(file(name)), '600')
    } finally {
      process.umask(before)
    }
  })

  test('a folder or file that others can read or write is refused, and which is said', async () => {
    await write('a')
    for (const [path, bits] of [
      [folder, 0o750],
      [folder, 0o701],
      [file('facts.log'), 0o640],
    ] as const) {
      const own = statSync(path).mode & 0o777
      chmodSync(path, bits)
      const said = bits.toString(8)
      await assert.rejects(
        using(() => Promise.resolve()),
        (error: Error & { code?: string }) =>
          error.code === 'ERR_IDENTITY_UNSAFE_PATH' &&
          error.message.includes(path) &&
          error.message.includes(said),
      )
      chmodSync(path, own)
    }
    chmodSync(file('tokens'), 0o604)
    await using(async (store) => {
      assert.equal(await codeOf(() => store.read('tokens')), 'ERR_IDENTITY_UNSAFE_PATH')
      // What is written is a new file, private again.
      await store.write('tokens', bytesOf('new'))
      assert.equal(textOf(await store.read('tokens')), 'new')
    })
    assert.equal(mode(file('tokens')), '600')
  })

  test('links, pipes and folders in the place of files are refused', async () => {
    await write('a')
    const secret = join(parent.path, 'elsewhere')
    cpSync(file('tokens'), secret)
    chmodSync(secret, 0o600)
    await using(async (store) => {
      for (const put of [
        () => symlinkSync(secret, file('tokens')),
        () => assert.equal(spawnSync('mkfifo', ['-m', '600', file('tokens')]).status, 0),
        () => mkdirSync(file('tokens'), { mode: 0o700 }),
      ]) {
        rmSync(file('tokens'), { recursive: true })
        put()
        assert.equal(await codeOf(() => store.read('tokens')), 'ERR_IDENTITY_UNSAFE_PATH')
      }
      rmSync(file('tokens'), { recursive: true })
      // Writing replaces a link, also one in the place of the unfinished file: never its target.
      symlinkSync(secret, file('tokens'))
      symlinkSync(secret, file('tokens.new'))
      const before = readFileSync(secret)
      await store.write('tokens', bytesOf('new'))
      assert.deepEqual(readFileSync(secret), before)
      assert.equal(textOf(await store.read('tokens')), 'new')
    })
    renameSync(file('facts.log'), secret)
    symlinkSync(secret, file('facts.log'))
    assert.equal(await codeOf(factsOf), 'ERR_IDENTITY_UNSAFE_PATH')
  })

  test('the folder may be reached through a link, and may not be a file', async () => {
    await write('a')
    const link = join(parent.path, 'link')
    symlinkSync(folder, link)
    const real = folder
    folder = link
    assert.equal(await factsOf(), 'a')
    folder = real
    rmSync(folder, { recursive: true })
    writeFileSync(folder, '')
    assert.equal(await codeOf(factsOf), 'ERR_IDENTITY_UNSAFE_PATH')
  })

  const isRoot = process.geteuid?.() === 0
  const why = isRoot ? '' : ' (not tried: needs root)'
  test.skipIf(!isRoot)(`files of another user are refused${why}`, async () => {
    await write('a')
    chownSync(file('tokens'), 12345, 12345)
    await using(async (store) => {
      assert.equal(await codeOf(() => store.read('tokens')), 'ERR_IDENTITY_UNSAFE_PATH')
    })
    chownSync(folder, 12345, 12345)
    assert.equal(await codeOf(factsOf), 'ERR_IDENTITY_UNSAFE_PATH')
  })

  test('a record is one of the names, and no path', async () => {
    await using(async (store) => {
      const name = '../elsewhere' as 'tokens'
      await assert.rejects(async () => await store.write(name, bytesOf('x')), TypeError)
      await assert.rejects(async () => await store.read(name), TypeError)
    })
    assert.deepEqual(readdirSync(parent.path), ['identity'])
  })
})

describe('one process', () => {
  test('holds the folder; another is refused until it dies', async () => {
    const running = runUntilKilled('store-writer.ts', [folder, '0'], 30)
    await vi.waitUntil(() => existsSync(file('lock')), { timeout: 20_000, interval: 1 })
    assert.equal(await codeOf(factsOf), 'ERR_IDENTITY_LOCKED')
    const { lines } = await running
    assert.equal(lines.length >= 30, true)
    await factsOf()
  })

  const isAlone = spawnSync('unshare', ['--net', 'true']).status === 0
  const notTried = isAlone ? '' : ' (not tried: needs the right to make a network namespace)'
  test.skipIf(!isAlone)(`holds it for other network namespaces too${notTried}`, async () => {
    await using(() => {
      const program = new URL('programs/store-writer.ts', import.meta.url).pathname
      const node = [process.execPath, '--conditions=@mycelium/source', program, folder, '0']
      const { stdout, stderr } = spawnSync('unshare', ['--net', ...node], {
        encoding: 'utf8',
        timeout: 20_000,
        killSignal: 'SIGKILL',
      })
      assert.equal(stdout, '')
      assert.match(stderr, /ERR_IDENTITY_LOCKED/)
      return Promise.resolve()
    })
  })

  test('leaves no lock behind when it ends, also after a failed opening', async () => {
    await write('a')
    assert.ok(!existsSync(file('lock')))
    const whole = readFileSync(file('facts.log'))
    writeFileSync(file('facts.log'), 'nonsense')
    assert.equal(await codeOf(factsOf), 'ERR_IDENTITY_DAMAGED')
    writeFileSync(file('facts.log'), whole)
    assert.equal(await factsOf(), 'a')
  })

  test('that died long ago holds nothing', async () => {
    await write('a')
    writeFileSync(file('lock'), '1 12345 another-boot')
    assert.equal(await factsOf(), 'a')
  })
})

describe('kill -9 in the middle of writes', () => {
  test('leaves each record whole, and all facts that were acknowledged', async () => {
    let next = 0
    for (let round = 0; round < 6; round++) {
      const run = await runUntilKilled('store-writer.ts', [folder, `${next}`], 5 + round * 9)
      assert.equal(run.complaint, '')
      const acknowledged = Number(run.lines.at(-1))
      await using(async (store) => {
        const record = textOf(await store.read('tokens'))
        const last = Number(record.split(':')[0])
        assert.equal(record, `${last}:`.padEnd(20_000, '.'))
        assert.ok(last >= acknowledged, `record ${last} of ${acknowledged}`)
        const facts = (await store.facts()).map(textOf)
        const newest = Number(facts.at(-1)?.slice(1))
        assert.ok(newest >= acknowledged, `fact ${newest} of ${acknowledged}`)
        // Whole groups, without a gap, up to the newest.
        const oldest = Number(facts[0]?.slice(1))
        const expected = Array.from({ length: newest - oldest + 1 }, (_, i) => oldest + i)
        assert.deepEqual(
          facts,
          expected.flatMap((i) => [`a${i}`, `b${i}`]),
        )
        next = Math.max(last, newest) + 1
        assert.ok(!readdirSync(folder).some((name) => name.endsWith('.new')))
        await store.replaceFacts([])
      })
    }
  })
})

describe('damage', () => {
  test('a torn tail is cut off at every length, and appending goes on', async () => {
    await write('a', 'b')
    const whole = readFileSync(file('facts.log'))
    await using((store) => store.appendFacts([bytesOf('c'), bytesOf('d')]))
    const longer = readFileSync(file('facts.log'))
    for (let length = whole.length; length < longer.length; length++) {
      writeFileSync(file('facts.log'), longer.subarray(0, length))
      await using(async (store) => {
        assert.equal(store.tornBytes, length - whole.length)
        assert.equal(statSync(file('facts.log')).size, whole.length)
        assert.equal((await store.facts()).length, 2)
        await store.appendFacts([bytesOf('e')])
      })
      assert.equal(await factsOf(), 'a,b,e')
    }
  })

  test('a tail of zeroes or noise is torn too', async () => {
    await write('a')
    const whole = readFileSync(file('facts.log'))
    for (const tail of [Buffer.alloc(5000), Buffer.alloc(5000, 0x5a)]) {
      writeFileSync(file('facts.log'), Buffer.concat([whole, tail]))
      await using((store) => Promise.resolve(assert.equal(store.tornBytes, 5000)))
      assert.equal(await factsOf(), 'a')
    }
  })

  test('every changed byte of facts before the last is refused, with its place', async () => {
    await write('first', 'middle', 'last')
    const whole = readFileSync(file('facts.log'))
    const lastFrame = whole.length - (24 + 4 + 'last'.length)
    for (let offset = 0; offset < whole.length; offset++) {
      const changed = Buffer.from(whole)
      changed[offset] = (changed[offset] ?? 0) ^ 0x10
      writeFileSync(file('facts.log'), changed)
      if (offset >= lastFrame) {
        assert.equal(await factsOf(), 'first,middle')
        continue
      }
      await assert.rejects(factsOf(), (error: { code?: string; offset?: number }) => {
        assert.equal(error.code, 'ERR_IDENTITY_DAMAGED')
        assert.ok((error.offset ?? Infinity) <= offset)
        return true
      })
      assert.deepEqual(readFileSync(file('facts.log')), changed)
    }
  })

  test('facts that the file was made with are never taken for torn', async () => {
    await using((store) => store.replaceFacts([bytesOf('a'), bytesOf('b')]))
    const whole = readFileSync(file('facts.log'))
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(file('facts.log'), whole.subarray(0, length))
      assert.equal(await codeOf(factsOf), 'ERR_IDENTITY_DAMAGED')
    }
  })

  test('every changed byte of a record is found, and a record of another name', async () => {
    await write()
    const whole = readFileSync(file('tokens'))
    await using(async (store) => {
      for (let offset = 0; offset < whole.length; offset++) {
        const changed = Buffer.from(whole)
        changed[offset] = (changed[offset] ?? 0) ^ 1
        writeFileSync(file('tokens'), changed)
        assert.equal(await codeOf(() => store.read('tokens')), 'ERR_IDENTITY_DAMAGED')
        writeFileSync(file('tokens'), whole.subarray(0, offset))
        assert.equal(await codeOf(() => store.read('tokens')), 'ERR_IDENTITY_DAMAGED')
      }
      writeFileSync(file('peers'), whole, { mode: 0o600 })
      assert.equal(await codeOf(() => store.read('peers')), 'ERR_IDENTITY_DAMAGED')
    })
  })
})

describe('a full disk', () => {
  test.skipIf(noSmallDisk !== '')(`changes nothing, and is not for ever${noSmallDisk}`, () => {
    const { lines, complaint } = runOnSmallDisk('full-disk-store.ts', {
      mountPoint: parent.path,
      bytes: 2 ** 18,
    })
    assert.equal(complaint, '')
    assert.deepEqual(lines, [
      'ERR_IDENTITY_WRITE doubt false',
      'ERR_IDENTITY_WRITE doubt false',
      '0 bytes left behind',
      'ERR_IDENTITY_WRITE doubt false',
      'old',
      '1 facts',
      'done',
      'done',
      'new',
      '5 facts, 0 torn',
    ])
  })
})
