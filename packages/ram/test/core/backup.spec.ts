import { describe, expect, it } from 'vitest'
import { BackupCore, type BackupEffect } from '../../src/core/backup.ts'
import { type Attachment, NO_ATTACHMENT, type Version } from '../../src/core/epoch.ts'
import type { FooterMessage, OfferMode, RamMessage } from '../../src/wire.ts'

const REGION = 5n
const BYTES = 64 * 4096
const FULL: Attachment = { kind: 'full', bytes: Uint8Array.of(1) }

const version = (counter: number, fencing = 1n): Version => ({
  name: { fencing, counter },
  root: BigInt(counter) + 100n * fencing,
})
const address = (counter = 0, fencing = 1n) => ({ fencing, counter, region: REGION })
const offer = (mode: OfferMode, fencing = 1n): RamMessage => ({
  type: 'offer',
  ...address(0, fencing),
  mode,
  regionBytes: BYTES,
})
const pages = (type: 'chunk' | 'fill', index = 0, counter = 1, fencing = 1n): RamMessage => ({
  type,
  ...address(type === 'fill' ? 0 : counter, fencing),
  index,
  payload: new Uint8Array(1),
  checksum: 9n,
})
const footer = (to: Version, base?: Version, chunkCount = 0): FooterMessage => ({
  type: 'footer',
  ...address(to.name.counter, to.name.fencing),
  root: to.root,
  chunkCount,
  attachment: NO_ATTACHMENT,
  ...(base && { base }),
})

function make(): BackupCore {
  const core = new BackupCore({ region: REGION, regionBytes: BYTES })
  core.step({ type: 'attached' })
  return core
}
const receive = (core: BackupCore, message: RamMessage): BackupEffect[] =>
  core.step({ type: 'message', message })
const types = (effects: readonly BackupEffect[]): string[] => effects.map(({ type }) => type)
const codeOf = (effects: readonly BackupEffect[]): string | undefined => {
  expect(types(effects)).toEqual(['discard', 'refuse'])
  return effects[1]?.type === 'refuse' ? effects[1].code : undefined
}
/** Takes one epoch whole. */
function take(core: BackupCore, to: Version, base?: Version): BackupEffect[] {
  expect(types(receive(core, footer(to, base)))).toEqual(['apply'])
  return core.step({ type: 'applied', root: to.root })
}

describe('an epoch', () => {
  it('is staged, applied, handed over and acknowledged, in this order', () => {
    const core = make()
    expect(types(receive(core, offer('fill')))).toEqual(['discard'])
    expect(types(receive(core, pages('fill')))).toEqual(['fill'])
    expect(types(receive(core, pages('chunk', 0)))).toEqual(['stage'])
    expect(types(receive(core, pages('chunk', 1)))).toEqual(['stage'])
    expect(core.applied).toBeUndefined()
    const message = { ...footer(version(1), undefined, 2), attachment: FULL }
    expect(receive(core, message)).toEqual([{ type: 'apply', version: version(1), compare: false }])
    expect(core.applied).toBeUndefined()
    const done = core.step({ type: 'applied', root: version(1).root, mismatchPages: 4 })
    expect(done).toEqual([
      { type: 'applied', version: version(1), attachment: FULL, mismatchPages: 4 },
      { type: 'ack', version: version(1), mismatchPages: 4 },
    ])
    expect(core.applied).toEqual(version(1))
  })

  it('is compared if hashes came with it', () => {
    const core = make()
    receive(core, offer('resume'))
    const hashes = new Uint8Array(16)
    const kept = receive(core, { type: 'hashes', ...address(1), firstPage: 2, hashes })
    expect(kept).toEqual([{ type: 'keep-hashes', firstPage: 2, hashes }])
    expect(receive(core, footer(version(1)))).toMatchObject([{ type: 'apply', compare: true }])
    core.step({ type: 'applied', root: version(1).root })
    expect(receive(core, footer(version(2), version(1)))).toMatchObject([{ compare: false }])
  })

  it('applies on its base only', () => {
    const wrong: readonly Version[] = [
      version(2),
      version(1, 2n),
      { ...version(1), root: 8n },
      version(0),
    ]
    for (const base of wrong) {
      const core = make()
      receive(core, offer('resume'))
      take(core, version(1))
      expect(codeOf(receive(core, footer(version(3), base)))).toBe('ERR_RAM_BASE')
      expect(core.applied).toEqual(version(1))
    }
    const core = make()
    receive(core, offer('fill'))
    expect(codeOf(receive(core, footer(version(3), version(1))))).toBe('ERR_RAM_BASE')
  })

  it('must come after an offer, whole, in order and unmixed', () => {
    const cases: readonly (readonly RamMessage[])[] = [
      [pages('chunk')],
      [footer(version(1))],
      [{ type: 'hashes', ...address(1), firstPage: 0, hashes: new Uint8Array(8) }],
      [offer('fill'), pages('chunk', 1)],
      [offer('fill'), pages('chunk', 0), pages('chunk', 0)],
      [offer('fill'), pages('chunk', 0), pages('chunk', 2)],
      [offer('fill'), pages('chunk', 0, 1), pages('chunk', 1, 2)],
      [offer('fill'), pages('chunk', 0, 1), pages('chunk', 1, 1, 2n)],
      [offer('fill'), pages('chunk', 0, 1), footer(version(2), undefined, 1)],
      [offer('fill'), pages('chunk', 0), footer(version(1), undefined, 0)],
      [offer('fill'), pages('chunk', 0), footer(version(1), undefined, 2)],
      [offer('fill'), footer(version(1), undefined, 1)],
      [offer('fill'), pages('chunk', 0), pages('fill')],
    ]
    for (const messages of cases) {
      const core = make()
      for (const message of messages.slice(0, -1)) receive(core, message)
      const last = messages.at(-1)
      if (last !== undefined) expect(codeOf(receive(core, last))).toBe('ERR_RAM_ORDER')
    }
  })
})

describe('a fill', () => {
  it('comes only when it was announced', () => {
    expect(codeOf(receive(make(), pages('fill')))).toBe('ERR_RAM_ORDER')
    const resumed = make()
    receive(resumed, offer('resume'))
    expect(codeOf(receive(resumed, pages('fill')))).toBe('ERR_RAM_ORDER')
  })

  it('is refused once an epoch is applied: it would leave an image that is none', () => {
    const core = make()
    receive(core, offer('fill'))
    take(core, version(1))
    expect(codeOf(receive(core, pages('fill')))).toBe('ERR_RAM_ORDER')
    expect(core.applied).toEqual(version(1))
  })

  it('announced makes the image unpromotable until the next epoch', () => {
    for (const mode of ['fill', 'compare'] as const) {
      const core = make()
      receive(core, offer('resume'))
      take(core, version(1))
      const effects = receive(core, offer(mode))
      expect(types(effects)).toEqual(mode === 'fill' ? ['discard'] : ['discard', 'send-hashes'])
      expect(core.applied).toBeUndefined()
      take(core, version(2))
      expect(core.applied).toEqual(version(2))
    }
  })
})

describe('refuses', () => {
  it('another region, and a region of another size', () => {
    const core = make()
    const other = { ...offer('fill'), region: 6n }
    expect(codeOf(receive(core, other))).toBe('ERR_RAM_REGION')
    expect(core.fencing).toBe(0n)
    const small: RamMessage = { type: 'offer', ...address(), mode: 'fill', regionBytes: BYTES - 1 }
    expect(codeOf(receive(core, small))).toBe('ERR_RAM_REGION')
  })

  it('an older fencing epoch for ever, over any channel', () => {
    const core = make()
    receive(core, offer('resume', 2n))
    expect(core.fencing).toBe(2n)
    expect(codeOf(receive(core, offer('fill', 1n)))).toBe('ERR_RAM_FENCED')
    core.step({ type: 'detached' })
    core.step({ type: 'attached' })
    expect(codeOf(receive(core, offer('fill', 1n)))).toBe('ERR_RAM_FENCED')
    receive(core, offer('fill', 2n))
    expect(codeOf(receive(core, pages('chunk', 0, 1, 1n)))).toBe('ERR_RAM_FENCED')
    expect(core.fencing).toBe(2n)
  })

  it('what only a backup sends', () => {
    const wrong: readonly RamMessage[] = [
      { type: 'ack', ...address(1), root: 1n },
      { type: 'hello', ...address(), regionBytes: BYTES, root: 0n },
      { type: 'refuse', ...address(), code: 'ERR_X', text: '' },
    ]
    for (const message of wrong) expect(codeOf(receive(make(), message))).toBe('ERR_RAM_ORDER')
  })

  it('once, and hears nothing more until the next offer', () => {
    const core = make()
    receive(core, offer('resume'))
    take(core, version(1))
    const failed = { type: 'failed', code: 'ERR_RAM_FRAME', text: 'damaged' } as const
    expect(codeOf(core.step(failed))).toBe('ERR_RAM_FRAME')
    expect(receive(core, pages('chunk'))).toEqual([])
    expect(receive(core, footer(version(2), version(1)))).toEqual([])
    expect(core.step(failed)).toEqual([])
    expect(receive(core, { ...offer('compare'), region: 6n })).toMatchObject([{}, {}])
    expect(types(receive(core, offer('compare')))).toEqual(['discard', 'send-hashes'])
    expect(types(receive(core, pages('chunk')))).toEqual(['stage'])
  })
})

describe('the image', () => {
  it('survives a refusal, a failure and a lost channel', () => {
    const core = make()
    receive(core, offer('resume'))
    take(core, version(1))
    receive(core, footer(version(2), version(1)))
    core.step({ type: 'failed', code: 'ERR_RAM_IMAGE', text: '' })
    expect(core.applied).toEqual(version(1))
    core.step({ type: 'detached' })
    expect(core.step({ type: 'attached' })).toEqual([
      { type: 'discard' },
      { type: 'hello', applied: version(1) },
    ])
  })

  it('is no epoch if what belongs to it was not taken', () => {
    const core = make()
    receive(core, offer('resume'))
    take(core, version(1))
    receive(core, footer(version(2), version(1)))
    core.step({ type: 'applied', root: version(2).root })
    core.step({ type: 'failed', code: 'ERR_RAM_REJECTED', text: '', isImageChanged: true })
    expect(core.applied).toBeUndefined()
  })

  it('is greeted with no version before the first epoch', () => {
    const core = new BackupCore({ region: REGION, regionBytes: BYTES })
    expect(core.step({ type: 'attached' })).toEqual([{ type: 'discard' }, { type: 'hello' }])
  })

  it('is nothing that an outcome without work can change', () => {
    const core = make()
    const applied = { type: 'applied', root: 1n } as const
    expect(() => core.step(applied)).toThrow(expect.objectContaining({ code: 'ERR_RAM_ORDER' }))
    receive(core, offer('resume'))
    receive(core, footer(version(1)))
    expect(() => core.step(applied)).toThrow(expect.objectContaining({ code: 'ERR_RAM_ORDER' }))
  })
})
