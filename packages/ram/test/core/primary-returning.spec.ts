import type { NodeId } from '@mycelium/interface'
import { describe, expect, it } from 'vitest'
import { LOST_BACKUPS_MAX } from '../../src/constants.ts'
import type { Version } from '../../src/core/epoch.ts'
import {
  A,
  FEW,
  hello,
  join,
  make,
  MANY,
  only,
  pageSet,
  seal,
  types,
  version,
} from '../kit/primary-core.ts'

describe('a backup that returns', () => {
  it('resumes with the pages changed since it went', () => {
    const core = make()
    join(core, A, 1)
    core.step({ type: 'lost', backup: A })
    seal(core, 2, pageSet(20, 1))
    core.step({ type: 'attached', backup: A })
    seal(core, 3, pageSet(21, 1))
    const greeted = hello(core, A, version(1))
    expect(types(greeted)).toEqual(['filling', 'offer'])
    expect(only(greeted, 'offer').mode).toBe('resume')
    expect(core.backups().get(A)?.missingPages).toBe(2)
    const sealed = seal(core, 4, pageSet(22, 1))
    expect(types(sealed)).toEqual(['joining', 'send-epoch'])
    expect(only(sealed, 'send-epoch').pages?.[2]).toBe(0b111_0000)
  })

  it('is filled with the pages changed since it went, if they are many', () => {
    const core = make()
    join(core, A, 1)
    core.step({ type: 'lost', backup: A })
    seal(core, 2, MANY)
    core.step({ type: 'attached', backup: A })
    const greeted = hello(core, A, version(1))
    expect(types(greeted)).toEqual(['filling', 'offer', 'fill'])
    expect(only(greeted, 'offer').mode).toBe('fill')
    expect(only(greeted, 'fill').pages).toEqual(MANY)
  })

  it('resumes from before or after the epoch whose acknowledgement was lost', () => {
    for (const applied of [version(1), version(2)]) {
      const core = make()
      join(core, A, 1)
      seal(core, 2, FEW)
      expect(types(core.step({ type: 'lost', backup: A }))).toEqual(['acknowledged'])
      core.step({ type: 'attached', backup: A })
      expect(only(hello(core, A, applied), 'offer').mode).toBe('resume')
      expect(core.backups().get(A)?.missingPages).toBe(3)
    }
  })

  it('resumes from the epoch with which it was joining', () => {
    const core = make()
    core.step({ type: 'attached', backup: A })
    hello(core, A)
    core.step({ type: 'missing', backup: A, pages: FEW })
    seal(core, 1)
    core.step({ type: 'lost', backup: A })
    core.step({ type: 'attached', backup: A })
    expect(only(hello(core, A, version(1)), 'offer').mode).toBe('resume')
  })

  it('resumes after it was lost again before the next epoch', () => {
    const core = make()
    join(core, A, 1)
    for (let loss = 0; loss < 3; loss++) {
      core.step({ type: 'lost', backup: A })
      core.step({ type: 'attached', backup: A })
      if (loss === 1) continue // lost before it said hello
      expect(only(hello(core, A, version(1)), 'offer').mode).toBe('resume')
    }
  })

  it('is compared if its version is unknown, its image is not that, or it fills', () => {
    const cases: readonly (readonly [Version | undefined, bigint])[] = [
      [version(5), version(5).root],
      [{ ...version(1), root: 7n }, 7n],
      [{ root: version(1).root, name: { fencing: 2n, counter: 1 } }, version(1).root],
      [version(1), 7n],
      [undefined, 7n],
    ]
    for (const [applied, root] of cases) {
      const core = make()
      join(core, A, 1)
      core.step({ type: 'lost', backup: A })
      core.step({ type: 'attached', backup: A })
      expect(only(hello(core, A, applied, root), 'offer').mode).toBe('compare')
    }
  })

  it('starts anew if its process did: an image of zeroes holds nothing', () => {
    const core = make()
    join(core, A, 1)
    core.step({ type: 'lost', backup: A })
    core.step({ type: 'attached', backup: A })
    expect(types(hello(core, A))).toEqual(['filling', 'offer', 'find-missing'])
  })

  it('is told so before its resumed image is overwritten', () => {
    const core = make()
    join(core, A, 1)
    core.step({ type: 'lost', backup: A })
    core.step({ type: 'attached', backup: A })
    hello(core, A, version(1))
    const effects = core.step({ type: 'precopied', changed: MANY })
    expect(types(effects)).toEqual(['offer', 'fill'])
    expect(only(effects, 'offer').mode).toBe('fill')
    // It holds no epoch any more: what it says next time is believed only by comparison.
    core.step({ type: 'lost', backup: A })
    core.step({ type: 'attached', backup: A })
    expect(only(hello(core, A, version(1)), 'offer').mode).toBe('compare')
  })

  it('is remembered while at most eight others went after it', () => {
    for (const others of [LOST_BACKUPS_MAX - 1, LOST_BACKUPS_MAX]) {
      const core = make()
      const ids = Array.from({ length: others }, (_, index) => `other-${index}` as NodeId)
      for (const [index, id] of [A, ...ids].entries()) {
        join(core, id, index + 1)
        core.step({ type: 'lost', backup: id })
      }
      core.step({ type: 'attached', backup: A })
      const { mode } = only(hello(core, A, version(1)), 'offer')
      expect(mode).toBe(others < LOST_BACKUPS_MAX ? 'resume' : 'compare')
    }
  })
})
