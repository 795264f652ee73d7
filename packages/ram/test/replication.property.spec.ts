import type { Clock } from '@mycelium/interface'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AppliedEpoch,
  type Compression,
  createPrimary,
  createRegion,
  type NotPromotableError,
} from '../src/index.ts'
import {
  type BackupSide,
  bringInSync,
  connect,
  firstDifference,
  makeBackup,
  PAGE,
  type PrimarySide,
  replicate,
  startPrimary,
} from './kit/cluster.ts'

const PAGES = 64
const BYTES = PAGES * PAGE
const BACKUPS = 2

type Action =
  | { readonly type: 'write'; readonly at: number; readonly bytes: number; readonly value: number }
  | { readonly type: 'checkpoint'; readonly waits: boolean; readonly precopiesAt?: number }
  | { readonly type: 'precopy' }
  | { readonly type: 'lose' | 'return' | 'restart' | 'swap'; readonly backup: number }
  | { readonly type: 'turns'; readonly count: number }

/** Long ones: a loss in the middle of something needs a middle. */
const SCRIPT = { minLength: 30, maxLength: 60, size: 'max' } as const

const backup = fc.nat(BACKUPS - 1)
const actions: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      at: fc.nat(BYTES - 1),
      bytes: fc.oneof(fc.nat(16), fc.nat(6 * PAGE)),
      value: fc.nat(3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record(
      {
        type: fc.constant('checkpoint' as const),
        waits: fc.boolean(),
        precopiesAt: fc.nat(BYTES - 1),
      },
      { requiredKeys: ['type', 'waits'] },
    ),
  },
  fc.record({ type: fc.constant('precopy' as const) }),
  fc.record({ type: fc.constantFrom('lose', 'return', 'restart', 'swap'), backup }),
  fc.record({ type: fc.constant('turns' as const), count: fc.nat(3) }),
) as fc.Arbitrary<Action>

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

/** A primary and two backups that compare whatever they apply with the image of that moment. */
class Scene implements AsyncDisposable {
  readonly side: PrimarySide
  readonly others: BackupSide[] = []
  readonly #lose: (() => void)[] = []
  readonly #moments = new Map<number, Uint8Array>()
  readonly #problems: string[] = []
  #counter = 0
  applied = 0

  constructor(side: PrimarySide) {
    this.side = side
    for (let index = 0; index < BACKUPS; index++) this.restart(index)
  }

  restart(index: number): void {
    this.#lose[index]?.()
    void this.others[index]?.[Symbol.asyncDispose]()
    const other: BackupSide = makeBackup(`b${index}`, BYTES, {
      onApplied: (epoch) => {
        this.#check(other, epoch)
      },
    })
    this.others[index] = other
  }

  /** Within the call of a backup, before it acknowledges. */
  #check({ region }: BackupSide, { version, mismatchPages }: AppliedEpoch): void {
    const { counter } = version.name
    const moment = this.#moments.get(counter)
    this.applied++
    if (moment === undefined) this.#problems.push(`${counter} is unknown`)
    else if (firstDifference(moment, region.buffer) !== undefined) {
      this.#problems.push(`${counter} differs`)
    }
    if (mismatchPages !== undefined && mismatchPages > 0) this.#problems.push('a scrub found pages')
  }

  async act(action: Action): Promise<void> {
    const { primary, region } = this.side
    switch (action.type) {
      case 'write':
        region.buffer.fill(action.value, action.at, action.at + action.bytes)
        return
      case 'checkpoint': {
        const epoch = await primary.beginEpoch()
        const at = action.precopiesAt
        if (at !== undefined) {
          const precopied = epoch.precopy()
          region.buffer.fill(1, at, at + 1)
          await precopied
          region.buffer.fill(this.#counter % 256, at, at + 2 * PAGE)
        }
        this.#moments.set(++this.#counter, region.buffer.slice())
        await epoch.capture()
        if (this.#counter % 5 === 0) await epoch.hash()
        const { acknowledged } = await epoch.seal()
        if (action.waits) await acknowledged
        return
      }
      case 'precopy':
        await primary.precopy()
        return
      case 'lose':
        this.#lose[action.backup]?.()
        return
      case 'restart':
        this.restart(action.backup)
        return
      case 'return':
        return await this.return(action.backup)
      case 'swap':
        this.#lose[action.backup]?.()
        return await this.return(action.backup)
      case 'turns':
        for (let count = 0; count < action.count; count++) await turn()
    }
  }

  async return(index: number): Promise<void> {
    const other = this.others[index]
    if (other === undefined) return
    // What was lost is told in a later turn.
    while (this.side.primary.backups().some(({ id }) => id === other.id)) {
      if (this.#lose[index] === undefined) return
      this.#lose[index]?.()
      await turn()
    }
    const pair = await connect(this.side, other)
    this.#lose[index] = () => pair.lose()
  }

  async finish(): Promise<void> {
    const { primary, region } = this.side
    for (let round = 0; round < 50; round++) {
      const attached = new Set(primary.backups().map(({ id }) => id))
      for (const [index, { id }] of this.others.entries()) {
        if (!attached.has(id)) await this.return(index)
      }
      await this.act({ type: 'checkpoint', waits: true })
      await turn()
      const phases = primary.backups().map(({ phase }) => phase)
      if (phases.length === BACKUPS && phases.every((phase) => phase === 'in-sync')) break
    }
    expect(this.#problems).toEqual([])
    for (const other of this.others) {
      expect(firstDifference(region.buffer, other.region.buffer)).toBeUndefined()
      expect(Buffer.compare(other.backup.hashes(), await other.region.hashPages())).toBe(0)
      expect((await other.backup.promote()).name.counter).toBe(this.#counter)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.side[Symbol.asyncDispose]()
    for (const other of this.others) await other[Symbol.asyncDispose]()
  }
}

describe('random writes, epochs and losses', () => {
  for (const compression of ['none', 'lz4', 'zstd'] as const satisfies readonly Compression[]) {
    it(`leave at each backup the image of its epoch: ${compression}`, async () => {
      let applied = 0
      await fc.assert(
        fc.asyncProperty(fc.array(actions, SCRIPT), async (script) => {
          await using scene = new Scene(await startPrimary(BYTES, { compression }))
          for (let index = 0; index < BACKUPS; index++) await scene.return(index)
          for (const action of script) await scene.act(action)
          await scene.finish()
          applied += scene.applied
        }),
        { numRuns: 40 },
      )
      expect(applied).toBeGreaterThan(300)
    })
  }
})

describe('stopping at any moment', () => {
  const moments = Array.from({ length: 60 }, (_, index) => index)

  /** Runs until after `delay` turns of promises, then stops both sides. */
  async function run(delay: number, order: number): Promise<void> {
    const side = await startPrimary(BYTES)
    const other = makeBackup('b', BYTES)
    side.region.buffer.fill(1)
    const work = (async () => {
      await connect(side, other)
      for (;;) {
        side.region.buffer.fill(delay, 0, 20 * PAGE)
        await replicate(side)
      }
    })().catch((error: unknown) => error)
    for (let count = 0; count < delay; count++) await Promise.resolve()
    if (delay % 2 === 0) await turn()
    const stops = [() => side.primary.stop(), () => other.backup.stop()]
    if (order === 1) stops.reverse()
    await Promise.all(stops.map((stop) => stop()))
    expect(await work).toMatchObject({ code: 'ERR_RAM_CLOSED' })
    side.region.close()
    other.region.close()
  }

  it('settles everything, with a coded error for who waits', async () => {
    for (const moment of moments) for (const order of [0, 1]) await run(moment * 7, order)
  })

  it('works during the start', async () => {
    for (const delay of moments) {
      const starting = startPrimary(BYTES)
      for (let count = 0; count < delay; count++) await Promise.resolve()
      const side = await starting
      await Promise.all([side.primary.stop(), side.primary.stop()])
      await side.primary.stop()
      side.region.close()
    }
  })

  it('of a promotion gives an image that was acknowledged, or none', async () => {
    for (const moment of moments) {
      await using side = await startPrimary(BYTES)
      await using other = makeBackup('b', BYTES)
      await connect(side, other)
      const moments = [side.region.buffer.slice()]
      let acknowledged = 0
      let isOver = false
      const work = (async () => {
        for (let round = 1; !isOver; round++) {
          side.region.buffer.fill(round, 0, 5 * PAGE)
          moments.push(side.region.buffer.slice())
          const { by } = await replicate(side)
          if (by.length > 0) acknowledged = round
        }
      })()
      for (let count = 0; count < moment; count++) await turn()
      try {
        const { name } = await other.backup.promote()
        expect(name.counter).toBeGreaterThanOrEqual(acknowledged)
        const image = moments[name.counter] ?? new Uint8Array(0)
        expect(firstDifference(image, other.region.buffer)).toBeUndefined()
      } catch (error) {
        expect((error as NotPromotableError).code).toBe('ERR_RAM_NOT_PROMOTABLE')
        expect(acknowledged).toBe(0)
      }
      isOver = true
      await work
    }
  })

  it('does not wait for a backup that reads nothing', async () => {
    using region = createRegion({ bytes: BYTES })
    // Whatever is to happen later happens at once.
    const clock: Clock = {
      now: () => 0,
      unixMs: () => 0,
      schedule: (_at, callback) => {
        const timer = setImmediate(callback)
        return () => {
          clearImmediate(timer)
        }
      },
    }
    const primary = createPrimary({ region, clock })
    await primary.start()
    await using other = makeBackup('b', BYTES)
    const pair = await connect({ primary }, other)
    await bringInSync({ primary })
    pair.suspend()
    const { acknowledged } = await primary.checkpoint()
    const { lastAcknowledged } = primary.stats()
    const events: unknown[] = []
    primary.addEventListener('acknowledged', ({ detail }) => events.push(detail))
    await primary.stop()
    expect(pair.opener.state).toBe('closed')
    // Nobody has said that it holds the epoch, so that nothing may be shown for it.
    expect(events).toEqual([])
    expect(primary.stats().lastAcknowledged).toEqual(lastAcknowledged)
    await expect(acknowledged).rejects.toMatchObject({ code: 'ERR_RAM_CLOSED' })
  })
})

it('brings backups in sync over a channel with little room', async () => {
  await using side = await startPrimary(1024 * PAGE)
  await using other = makeBackup('b', 1024 * PAGE)
  side.region.buffer.fill(7)
  await connect(side, other, 2.5 * 2 ** 20)
  await bringInSync(side)
  expect(firstDifference(side.region.buffer, other.region.buffer)).toBeUndefined()
})
