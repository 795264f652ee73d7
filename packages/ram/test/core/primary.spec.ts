import { describe, expect, it } from 'vitest'
import { RESYNC_MAX } from '../../src/constants.ts'
import type { Version } from '../../src/core/epoch.ts'
import {
  A,
  ack,
  B,
  BYTES,
  FEW,
  hello,
  join,
  JOIN_PAGES_MAX,
  make,
  MANY,
  NONE,
  only,
  PAGES,
  pageSet,
  seal,
  types,
  version,
} from '../kit/primary-core.ts'

describe('an empty backup', () => {
  it('is filled, joins with a complete epoch, and then gets differences', () => {
    const core = make()
    expect(types(core.step({ type: 'attached', backup: A }))).toEqual(['greeting'])
    const greeted = hello(core, A)
    expect(types(greeted)).toEqual(['filling', 'offer', 'find-missing'])
    expect(only(greeted, 'offer').mode).toBe('fill')
    const first = core.step({ type: 'missing', backup: A, pages: MANY })
    expect(only(first, 'fill').pages).toEqual(MANY)
    expect(core.step({ type: 'filled', backup: A, left: FEW, bytes: 10 })).toEqual([])
    const sealed = seal(core, 1, pageSet(8, 1))
    expect(types(sealed)).toEqual(['joining', 'send-epoch'])
    const complete = only(sealed, 'send-epoch')
    expect(complete.base).toBeUndefined()
    expect(complete.pages?.slice(0, 2)).toEqual(Uint8Array.of(0b111, 1))
    const acked = ack(core, A, 1)
    expect(types(acked)).toEqual(['in-sync', 'acknowledged'])
    expect(only(acked, 'acknowledged').by).toEqual([A])
    const second = only(seal(core, 2, FEW), 'send-epoch')
    expect(second).toEqual({ type: 'send-epoch', backup: A, base: version(1) })
  })

  it('lacks what is on its way to it until that is said to be sent', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    core.step({ type: 'missing', backup: A, pages: MANY })
    seal(core, 1, pageSet(40, 2))
    const lacked = (): number | undefined => core.backups().get(A)?.missingPages
    expect(lacked()).toBe(JOIN_PAGES_MAX + 3)
    core.step({ type: 'filled', backup: A, left: NONE, bytes: 1 })
    expect(lacked()).toBe(2)
  })

  it('does not join before it is known what it lacks', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    expect(types(seal(core, 1))).toEqual(['acknowledged'])
    core.step({ type: 'missing', backup: A, pages: FEW })
    expect(types(seal(core, 2))).toEqual(['joining', 'send-epoch'])
  })

  it('is filled again with what changed while it was filled', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    core.step({ type: 'missing', backup: A, pages: MANY })
    seal(core, 1, MANY)
    const again = core.step({ type: 'filled', backup: A, left: NONE, bytes: 1 })
    expect(only(again, 'fill').pages).toEqual(MANY)
  })

  it('joins although every epoch changes more than a joining backup may lack', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    core.step({ type: 'missing', backup: A, pages: FEW })
    expect(types(seal(core, 1, MANY))).toEqual(['joining', 'send-epoch'])
  })

  it('joins with all it lacks once four times the region was sent in vain', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    core.step({ type: 'missing', backup: A, pages: MANY })
    const filled = { type: 'filled', backup: A, left: MANY } as const
    expect(types(core.step({ ...filled, bytes: 4 * BYTES - 1 }))).toEqual(['fill'])
    expect(types(core.step({ ...filled, bytes: 1 }))).toEqual([])
    expect(only(seal(core, 1), 'send-epoch').pages).toEqual(MANY)
  })

  it('counts as holding nothing before it has acknowledged', () => {
    const core = make()
    join(core, A, 1)
    core.step({ type: 'attached', backup: B })
    hello(core, B)
    core.step({ type: 'missing', backup: B, pages: MANY })
    seal(core, 2)
    expect(only(ack(core, A, 2), 'acknowledged').by).toEqual([A])
  })
})

describe('a backup with another image', () => {
  it('is compared, and gets the pages that differ and those that changed meanwhile', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    const greeted = hello(core, A, version(9))
    expect(types(greeted)).toEqual(['comparing', 'offer'])
    expect(only(greeted, 'offer').mode).toBe('compare')
    const ours = new Uint8Array(PAGES * 8)
    const theirs = ours.slice()
    theirs[8 * 5] = 1
    const half = (PAGES / 2) * 8
    const part = { type: 'hashes', backup: A, ours } as const
    expect(core.step({ ...part, firstPage: 0, hashes: theirs.subarray(0, half) })).toEqual([])
    expect(types(seal(core, 1, pageSet(6, 1)))).toEqual(['acknowledged'])
    const rest = core.step({ ...part, firstPage: PAGES / 2, hashes: theirs.subarray(half) })
    expect(types(rest)).toEqual(['filling'])
    expect(only(seal(core, 2), 'send-epoch').pages?.[0]).toBe(0b110_0000)
  })

  it('is dropped if its hashes have gaps, or come uncalled', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    const part = { type: 'hashes', backup: A, ours: new Uint8Array(PAGES * 8) } as const
    const hashes = new Uint8Array(8)
    const early = core.step({ ...part, firstPage: 0, hashes })
    expect(only(early, 'drop').error).toMatchObject({ code: 'ERR_RAM_ORDER' })
    core.step({ type: 'attached', backup: A })
    hello(core, A, version(9))
    const gap = core.step({ ...part, firstPage: 1, hashes })
    expect(only(gap, 'drop').error).toMatchObject({ code: 'ERR_RAM_ORDER' })
    expect(core.backups().size).toBe(0)
  })
})

describe('an epoch', () => {
  it('is acknowledged by all in sync, the one lost meanwhile left out', () => {
    const core = make()
    join(core, A, 1)
    core.step({ type: 'attached', backup: B })
    hello(core, B)
    core.step({ type: 'missing', backup: B, pages: FEW })
    expect(types(seal(core, 2))).toEqual(['send-epoch', 'joining', 'send-epoch'])
    expect(core.isInFlight).toBe(true)
    expect(types(ack(core, B, 2))).toEqual(['in-sync'])
    expect(core.isInFlight).toBe(true)
    const done = core.step({ type: 'lost', backup: A })
    expect(only(done, 'acknowledged')).toMatchObject({ name: version(2).name, by: [B] })
    expect(core.isInFlight).toBe(false)
  })

  it('is acknowledged by nobody if nobody is in sync', () => {
    expect(only(seal(make(), 1), 'acknowledged').by).toEqual([])
  })

  it('does not count as held by who acknowledged it and went away before the others did', () => {
    const core = make()
    join(core, A, 1)
    core.step({ type: 'attached', backup: B })
    hello(core, B)
    core.step({ type: 'missing', backup: B, pages: FEW })
    seal(core, 2)
    ack(core, B, 2)
    core.step({ type: 'lost', backup: B })
    core.step({ type: 'attached', backup: B })
    expect(only(ack(core, A, 2), 'acknowledged').by).toEqual([A])
  })

  it('is alone on its way', () => {
    const core = make()
    join(core, A, 1)
    seal(core, 2)
    expect(() => seal(core, 3)).toThrow(expect.objectContaining({ code: 'ERR_RAM_ORDER' }))
  })

  it('sums up the pages that its backups found different', () => {
    const core = make()
    join(core, A, 1)
    join(core, B, 2)
    // The second `join` sealed an epoch for A as well.
    core.step({ type: 'ack', backup: A, version: version(2), mismatchPages: 1 })
    seal(core, 3)
    core.step({ type: 'ack', backup: A, version: version(3), mismatchPages: 2 })
    const done = core.step({ type: 'ack', backup: B, version: version(3), mismatchPages: 3 })
    expect(only(done, 'acknowledged').mismatchPages).toBe(5)
    seal(core, 4)
    ack(core, A, 4)
    expect(only(ack(core, B, 4), 'acknowledged').mismatchPages).toBeUndefined()
  })

  it('is not acknowledged by who was not sent it, by another name, or with another image', () => {
    const wrong: readonly (readonly [string, Version])[] = [
      ['ERR_RAM_ORDER', version(1)],
      ['ERR_RAM_ORDER', { ...version(2), name: { fencing: 9n, counter: 2 } }],
      ['ERR_RAM_IMAGE', version(2, 5n)],
    ]
    for (const [code, acked] of wrong) {
      const core = make()
      join(core, A, 1)
      seal(core, 2)
      const effects = core.step({ type: 'ack', backup: A, version: acked })
      expect(only(effects, 'drop').error).toMatchObject({ code })
      expect(only(effects, 'acknowledged').by).toEqual([])
    }
    const core = make()
    join(core, A, 1)
    const twice = ack(core, A, 1)
    expect(only(twice, 'drop').error).toMatchObject({ code: 'ERR_RAM_ORDER' })
  })
})

describe('a refusal', () => {
  it('of the base, the image or the attachment is cured by comparing', () => {
    for (const code of ['ERR_RAM_BASE', 'ERR_RAM_IMAGE', 'ERR_RAM_REJECTED']) {
      const core = make()
      join(core, A, 1)
      seal(core, 2)
      const effects = core.step({ type: 'refused', backup: A, code, text: '' })
      expect(types(effects)).toEqual(['comparing', 'offer', 'acknowledged'])
      expect(only(effects, 'acknowledged').by).toEqual([])
    }
  })

  it('of anything else drops the backup', () => {
    const core = make()
    join(core, A, 1)
    seal(core, 2)
    const text = 'head is damaged'
    const effects = core.step({ type: 'refused', backup: A, code: 'ERR_RAM_FRAME', text })
    expect(types(effects)).toEqual(['drop', 'acknowledged'])
    expect(only(effects, 'drop').error).toMatchObject({
      code: 'ERR_RAM_REFUSED',
      remoteCode: 'ERR_RAM_FRAME',
    })
  })

  it('too often without an epoch in between drops the backup', () => {
    const core = make()
    join(core, A, 1)
    const refused = { type: 'refused', backup: A, code: 'ERR_RAM_BASE', text: '' } as const
    for (let time = 0; time < RESYNC_MAX; time++) {
      expect(types(core.step(refused))).toEqual(['comparing', 'offer'])
    }
    expect(types(core.step(refused))).toEqual(['drop'])
  })
})

describe('copying ahead', () => {
  it('adds to what everybody lacks, and goes on filling', () => {
    const core = make()
    join(core, B, 1)
    core.step({ type: 'lost', backup: B })
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    core.step({ type: 'missing', backup: A, pages: NONE })
    expect(core.mayPrecopy).toBe(true)
    expect(types(core.step({ type: 'precopied', changed: MANY }))).toEqual(['fill'])
    core.step({ type: 'attached', backup: B })
    hello(core, B, version(1))
    core.step({ type: 'filled', backup: A, left: NONE, bytes: 1 })
    expect(core.backups().get(B)?.phase).toBe('filling')
    core.step({ type: 'filled', backup: B, left: NONE, bytes: 1 })
    expect(types(seal(core, 2))).toEqual(['joining', 'send-epoch', 'joining', 'send-epoch'])
  })

  it('is impossible while a backup goes with the epochs', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    core.step({ type: 'missing', backup: A, pages: FEW })
    seal(core, 1)
    expect(core.mayPrecopy).toBe(false) // joining
    ack(core, A, 1)
    expect(core.mayPrecopy).toBe(false)
    const copied = { type: 'precopied', changed: FEW } as const
    expect(() => core.step(copied)).toThrow(expect.objectContaining({ code: 'ERR_RAM_ORDER' }))
  })
})

it('refuses a region of another size, and a second hello', () => {
  const core = make()
  core.step({ type: 'attached', backup: A })
  const small = core.step({ type: 'hello', backup: A, regionBytes: BYTES - 4096, root: 0n })
  expect(only(small, 'drop').error).toMatchObject({ code: 'ERR_RAM_REGION' })
  core.step({ type: 'attached', backup: A })
  hello(core, A)
  expect(only(hello(core, A), 'drop').error).toMatchObject({ code: 'ERR_RAM_ORDER' })
})

it('attaches a backup once, and ignores what comes from one that is gone', () => {
  const core = make()
  core.step({ type: 'attached', backup: A })
  const again = { type: 'attached', backup: A } as const
  expect(() => core.step(again)).toThrow(expect.objectContaining({ code: 'ERR_RAM_ORDER' }))
  core.step({ type: 'lost', backup: A })
  expect(ack(core, A, 1)).toEqual([])
  expect(core.step({ type: 'filled', backup: A, left: NONE, bytes: 1 })).toEqual([])
  expect(core.step({ type: 'lost', backup: A })).toEqual([])
})
