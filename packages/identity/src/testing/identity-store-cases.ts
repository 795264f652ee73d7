import assert from 'node:assert/strict'
import type { ComplianceCase } from '@mycelium/interface'
import { FACT_BYTES_MAX, RECORD_BYTES_MAX, STORE_CALLS_MAX } from '../store.ts'
import type { IdentityStore, RecordName } from '../store.ts'

/** What an implementation offers so that it can be tested. Begins empty. */
export interface IdentityStoreSetup extends AsyncDisposable {
  /** A new store on the place of this setup, as a new process would open it. */
  open(): Promise<IdentityStore>
  /**
   * What a new process finds if this one dies now, without any notice: a store on what is durable.
   * The former store is not used any more.
   */
  crash(): Promise<IdentityStore>
}

interface Cast {
  readonly setup: IdentityStoreSetup
  readonly store: IdentityStore
}

const NAMES: readonly RecordName[] = [
  'node-key',
  'network-key',
  'genesis',
  'certificate',
  'isolation-keys',
  'tokens',
  'peers',
]

function storeCase(
  name: string,
  body: (cast: Cast) => Promise<void>,
): ComplianceCase<IdentityStoreSetup> {
  return {
    name,
    run: async (make) => {
      await using setup = await make()
      await using store = await setup.open()
      await body({ setup, store })
    },
  }
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && new TextDecoder().decode(bytes)
const textsOf = async (store: IdentityStore): Promise<readonly (string | undefined)[]> =>
  (await store.facts()).map(textOf)

async function rejectsWithCode(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error, String(error))
    assert.equal(error.code, code)
    return true
  })
}

const recordCases = [
  storeCase('a new store holds nothing', async ({ store }) => {
    for (const name of NAMES) assert.equal(await store.read(name), undefined)
    assert.deepEqual(await store.facts(), [])
  }),
  storeCase('gives what was written last, of each record apart', async ({ store }) => {
    for (const name of NAMES) await store.write(name, bytesOf(`a long first ${name}`))
    for (const name of NAMES) await store.write(name, bytesOf(name))
    for (const name of NAMES) assert.equal(textOf(await store.read(name)), name)
  }),
  storeCase('keeps empty records and the longest, refuses longer ones', async ({ store }) => {
    await store.write('peers', new Uint8Array(0))
    assert.deepEqual(await store.read('peers'), new Uint8Array(0))
    const longest = new Uint8Array(RECORD_BYTES_MAX).fill(7)
    await store.write('peers', longest)
    await assert.rejects(store.write('peers', new Uint8Array(RECORD_BYTES_MAX + 1)), RangeError)
    assert.ok(Buffer.from(longest).equals((await store.read('peers')) ?? new Uint8Array(0)))
  }),
  storeCase('takes and gives copies', async ({ store }) => {
    const bytes = bytesOf('mine')
    const written = store.write('tokens', bytes)
    const appended = store.appendFacts([bytes])
    bytes.fill(0)
    await Promise.all([written, appended])
    ;(await store.read('tokens'))?.fill(0)
    ;(await store.facts())[0]?.fill(0)
    assert.equal(textOf(await store.read('tokens')), 'mine')
    assert.deepEqual(await textsOf(store), ['mine'])
  }),
  storeCase('removes one record, also one that is not there', async ({ store }) => {
    await store.write('tokens', bytesOf('x'))
    await store.write('peers', bytesOf('y'))
    await store.remove('tokens')
    await store.remove('tokens')
    assert.equal(await store.read('tokens'), undefined)
    assert.equal(textOf(await store.read('peers')), 'y')
  }),
  storeCase('carries calls out in the order in which they were made', async ({ store }) => {
    const [, first, , second] = await Promise.all([
      store.write('peers', bytesOf('1')),
      store.read('peers'),
      store.remove('peers'),
      store.read('peers'),
      store.write('peers', bytesOf('2')),
    ])
    assert.equal(textOf(first), '1')
    assert.equal(second, undefined)
    assert.equal(textOf(await store.read('peers')), '2')
  }),
]

const factCases = [
  storeCase('keeps facts in the order of their appending', async ({ store }) => {
    await store.appendFacts([bytesOf('a'), bytesOf('b')])
    await store.appendFacts([])
    await Promise.all([store.appendFacts([bytesOf('c')]), store.appendFacts([bytesOf('d')])])
    assert.deepEqual(await textsOf(store), ['a', 'b', 'c', 'd'])
  }),
  storeCase('keeps many and long facts in one call', async ({ setup, store }) => {
    const facts = Array.from({ length: 300 }, (_, i) => new Uint8Array(FACT_BYTES_MAX).fill(i))
    await store.appendFacts(facts)
    const again = await setup.crash()
    await using _ = again
    const found = await again.facts()
    assert.equal(found.length, facts.length)
    for (const [i, fact] of facts.entries()) {
      assert.ok(Buffer.from(fact).equals(found[i] ?? new Uint8Array(0)), `number ${i}`)
    }
  }),
  storeCase(
    'refuses empty facts and longer ones, and keeps none of the call',
    async ({ store }) => {
      for (const bad of [new Uint8Array(0), new Uint8Array(FACT_BYTES_MAX + 1)]) {
        await assert.rejects(store.appendFacts([bytesOf('a'), bad]), RangeError)
        await assert.rejects(store.replaceFacts([bytesOf('a'), bad]), RangeError)
      }
      assert.deepEqual(await store.facts(), [])
    },
  ),
  storeCase('replaces all facts, and appends behind them', async ({ setup, store }) => {
    await store.appendFacts([bytesOf('a'), bytesOf('b')])
    await store.replaceFacts([bytesOf('b'), bytesOf('c')])
    await store.appendFacts([bytesOf('d')])
    assert.deepEqual(await textsOf(store), ['b', 'c', 'd'])
    await store.replaceFacts([])
    await store.appendFacts([bytesOf('e')])
    await using again = await setup.crash()
    assert.deepEqual(await textsOf(again), ['e'])
  }),
]

const lifeCases = [
  storeCase('all is there after closing and opening again', async ({ setup, store }) => {
    await store.write('genesis', bytesOf('g'))
    await store.appendFacts([bytesOf('a')])
    await store[Symbol.asyncDispose]()
    await using again = await setup.open()
    assert.equal(textOf(await again.read('genesis')), 'g')
    await again.appendFacts([bytesOf('b')])
    assert.deepEqual(await textsOf(again), ['a', 'b'])
  }),
  storeCase('what resolved is there after a crash', async ({ setup, store }) => {
    await store.write('tokens', bytesOf('old'))
    await store.write('tokens', bytesOf('new'))
    await store.write('peers', bytesOf('gone'))
    await store.remove('peers')
    await store.appendFacts([bytesOf('a')])
    await store.appendFacts([bytesOf('b')])
    await using again = await setup.crash()
    assert.equal(textOf(await again.read('tokens')), 'new')
    assert.equal(await again.read('peers'), undefined)
    assert.deepEqual(await textsOf(again), ['a', 'b'])
  }),
  storeCase('what did not resolve is there whole or not at all', async ({ setup, store }) => {
    await store.write('tokens', bytesOf('old'))
    store.write('tokens', bytesOf('new')).catch(() => {})
    store.appendFacts([bytesOf('a'), bytesOf('b')]).catch(() => {})
    await using again = await setup.crash()
    assert.ok(['old', 'new'].includes(textOf(await again.read('tokens')) ?? ''))
    assert.ok(['', 'a', 'ab'].includes((await textsOf(again)).join('')))
  }),
  storeCase('one process at a time', async ({ setup, store }) => {
    await store.write('peers', bytesOf('x'))
    await rejectsWithCode(
      (async () => await setup.open())().then(async (other) => {
        await other[Symbol.asyncDispose]()
      }),
      'ERR_IDENTITY_LOCKED',
    )
    assert.equal(textOf(await store.read('peers')), 'x')
  }),
  storeCase('an abort takes back what waits, and nothing else', async ({ store }) => {
    const reason = new Error('enough')
    const isReason = (error: unknown): boolean => error === reason
    const controller = new AbortController()
    const { signal } = controller
    const first = store.write('peers', bytesOf('1'))
    const second = store.write('peers', bytesOf('2'), { signal })
    const third = store.appendFacts([bytesOf('a')], { signal })
    controller.abort(reason)
    await first
    await assert.rejects(second, isReason)
    await assert.rejects(third, isReason)
    for (const late of [store.read('peers', { signal }), store.facts({ signal })]) {
      await assert.rejects(late, isReason)
    }
    assert.equal(textOf(await store.read('peers')), '1')
    assert.deepEqual(await store.facts(), [])
  }),
  storeCase('bounds the calls that wait', async ({ store }) => {
    const calls = Array.from({ length: STORE_CALLS_MAX }, () => store.read('peers'))
    await rejectsWithCode(store.read('peers'), 'ERR_IDENTITY_FULL')
    await Promise.all(calls)
    await store.read('peers')
  }),
  storeCase(
    'closes once, after the calls before it, and then refuses',
    async ({ setup, store }) => {
      const writing = store.write('peers', bytesOf('x'))
      await Promise.all([store[Symbol.asyncDispose](), store[Symbol.asyncDispose]()])
      await writing
      await store[Symbol.asyncDispose]()
      const late = [
        store.read('peers'),
        store.write('peers', bytesOf('y')),
        store.remove('peers'),
        store.facts(),
        store.appendFacts([bytesOf('a')]),
        store.replaceFacts([]),
      ]
      for (const each of late) await rejectsWithCode(each, 'ERR_IDENTITY_CLOSED')
      await using again = await setup.open()
      assert.equal(textOf(await again.read('peers')), 'x')
    },
  ),
]

/** Every sentence of {@link IdentityStore} that a test can see. Run by each implementation. */
export const identityStoreCases: readonly ComplianceCase<IdentityStoreSetup>[] = [
  ...recordCases,
  ...factCases,
  ...lifeCases,
]
