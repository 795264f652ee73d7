import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  Bootstrap,
  type BootstrapEffect,
  type BootstrapInput,
  type BootstrapStep,
  FAILURES_MAX,
  FIRST_STATE,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
} from '../../src/core/bootstrap.ts'

const runs = (effects: readonly BootstrapEffect[]): readonly BootstrapStep[] =>
  effects.flatMap((effect) => (effect.type === 'run' ? [effect.step] : []))

const done = (step: BootstrapStep): BootstrapInput => ({
  type: 'done',
  step,
  message: `${step} ok`,
})
const failed = (step: BootstrapStep): BootstrapInput => ({ type: 'failed', step, message: 'no' })

function upTo(step: BootstrapStep): Bootstrap {
  const core = new Bootstrap()
  let [running] = runs(core.step({ type: 'start' }, 0))
  while (running !== undefined && running !== step) [running] = runs(core.step(done(running), 0))
  return core
}

describe('bootstrap', () => {
  it('goes through all phases, one after the other', () => {
    const core = new Bootstrap()
    const seen: string[] = []
    let [running] = runs(core.step({ type: 'start' }, 0))
    while (running !== undefined) {
      seen.push(running)
      ;[running] = runs(core.step(done(running), 0))
    }
    expect(seen).toEqual(['bootstrap', 'discovery', 'registration', 'handoff'])
    expect(core.state).toMatchObject({ phase: 'monitoring', management: 'network' })
  })

  it('manages alone where nobody takes over, and says so', () => {
    const core = upTo('handoff')
    core.step({ type: 'nobody', message: 'local management' }, 0)
    expect(core.state).toEqual({
      phase: 'monitoring',
      management: 'local',
      failures: 0,
      message: 'local management',
    })
    expect(core.nextDeadline()).toBeUndefined()
  })

  it('tries again after 1, 2, 4 ... seconds, and falls back meanwhile', () => {
    const core = upTo('discovery')
    let now = 0
    const waits: number[] = []
    for (let failures = 1; failures <= 10; failures++) {
      core.step(failed('discovery'), now)
      const at = core.nextDeadline() ?? 0
      waits.push(at - now)
      expect(core.state.phase).toBe(failures >= FAILURES_MAX ? 'fallback' : 'discovery')
      expect(core.step({ type: 'tick' }, at - 1)).toEqual([])
      expect(runs(core.step({ type: 'tick' }, at))).toEqual(['discovery'])
      now = at
    }
    expect(waits.slice(0, 3)).toEqual([RETRY_MS_MIN, 2 * RETRY_MS_MIN, 4 * RETRY_MS_MIN])
    expect(waits.at(-1)).toBe(RETRY_MS_MAX)
    expect(runs(core.step(done('discovery'), now))).toEqual(['registration'])
    expect(core.state.failures).toBe(0)
  })

  it('takes control back when the services go, and hands it over anew', () => {
    const core = upTo('handoff')
    core.step(done('handoff'), 0)
    core.step({ type: 'lost', message: 'services are away' }, 100)
    expect(core.state).toMatchObject({ phase: 'fallback', management: 'local' })
    expect(core.step({ type: 'lost', message: 'again' }, 100)).toEqual([])
    expect(runs(core.step({ type: 'tick' }, 100 + RETRY_MS_MIN))).toEqual(['discovery'])
  })

  it('checks who it is first, whatever was persisted', () => {
    const core = new Bootstrap({ ...FIRST_STATE, phase: 'monitoring', management: 'network' })
    expect(core.state).toMatchObject({ phase: 'bootstrap', management: 'local' })
  })

  it('runs at most one step at a time, persists before it tells, and bounds its waits', () => {
    const input = fc.oneof(
      fc.constantFrom<BootstrapInput>({ type: 'start' }, { type: 'tick' }),
      fc
        .tuple(
          fc.constantFrom('done' as const, 'failed' as const),
          fc.constantFrom<BootstrapStep>('bootstrap', 'discovery', 'registration', 'handoff'),
        )
        .map(([type, step]): BootstrapInput => ({ type, step, message: '' })),
      fc.constantFrom<BootstrapInput>(
        { type: 'nobody', message: '' },
        { type: 'lost', message: '' },
      ),
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(input, fc.nat(10_000))), (script) => {
        const core = new Bootstrap()
        let now = 0
        let running: BootstrapStep | undefined
        for (const [one, wait] of script) {
          now += wait
          if ((one.type === 'done' || one.type === 'failed') && one.step === running) {
            running = undefined
          } else if (one.type === 'nobody' && running === 'handoff') {
            running = undefined
          }
          const effects = core.step(one, now)
          for (const step of runs(effects)) {
            expect(running).toBeUndefined()
            running = step
          }
          const types = effects.map(({ type }) => type).filter((type) => type !== 'run')
          if (types.length > 0) expect(types).toEqual(['persist', 'changed'])
          expect((core.nextDeadline() ?? now) - now).toBeLessThanOrEqual(RETRY_MS_MAX)
        }
      }),
    )
  })
})
