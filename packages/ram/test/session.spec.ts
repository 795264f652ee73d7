import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, it } from 'vitest'
import { Session, type SessionConfig } from '../src/core/session.ts'
import type {
  OutgoingMessage,
  ReceivedFrame,
  SessionEffect,
  SessionFrame,
  SessionState,
} from '../src/core/session-types.ts'

type Effect = SessionEffect<OutgoingMessage>

const config: SessionConfig = {
  role: 'opener',
  messageBytesMax: 100,
  bufferBytesMax: 160, // control 10, bulk 150
  keepAliveMs: 100,
  silenceMs: 300,
  graceMs: 1_000,
  connectMs: 50,
  backoffMs: 10,
  backoffMsMax: 40,
  fragmentBytes: 16,
}
const nothing = { delivered: 0, consumedBytes: 0 }
const zero: SessionState = { control: nothing, bulk: nothing, ended: false }
const welcome = { type: 'welcome', state: zero, messageBytesMax: 100, bufferBytesMax: 160 } as const
const message = (bytes: number, priority: 'control' | 'bulk' = 'bulk'): OutgoingMessage => ({
  priority,
  bytes,
  parts: [new Uint8Array(bytes)],
})
const data = (init: Partial<ReceivedFrame & { type: 'data' }> = {}): ReceivedFrame => ({
  type: 'data',
  priority: 'bulk',
  sequence: 0,
  offset: 0,
  totalBytes: 4,
  bytes: new Uint8Array(4),
  ...init,
})

/** A session with its present link, at time 0. */
class Rig {
  readonly session: Session<OutgoingMessage>
  link = 1
  now = 0

  constructor(init: Partial<SessionConfig> = {}) {
    const allocate = (bytes: number): Uint8Array => new Uint8Array(bytes)
    const deps = { random: createSeededRandom(1), allocate }
    this.session = new Session(deps, { ...config, ...init })
  }

  static opened(): Rig {
    const rig = new Rig()
    expect(rig.session.start(0)).toEqual([{ type: 'connect', link: 1 }])
    expect(rig.step({ type: 'connected', link: 1 })).toEqual([])
    expect(rig.session.poll()).toMatchObject({ type: 'hello', attempt: 1, fresh: true })
    expect(rig.frame(welcome)).toEqual([{ type: 'opened' }])
    expect(rig.poll()).toEqual(['state'])
    return rig
  }

  step(input: Parameters<Session<OutgoingMessage>['step']>[0]): Effect[] {
    return this.session.step(input, this.now)
  }

  frame(frame: ReceivedFrame): Effect[] {
    return this.step({ type: 'frame', link: this.link, frame })
  }

  /** Types of all frames that are ready. */
  poll(): string[] {
    return this.frames().map(({ type }) => type)
  }

  frames(): SessionFrame[] {
    const frames: SessionFrame[] = []
    for (let next = this.session.poll(); next !== undefined; next = this.session.poll()) {
      frames.push(next)
    }
    return frames
  }

  tickAt(now: number): Effect[] {
    this.now = now
    return this.step({ type: 'tick' })
  }
}

describe('session', () => {
  it('breaks the link over everything that the peer must not say', () => {
    const bad: readonly [RegExp, ReceivedFrame[]][] = [
      [/message 1 came instead of 0/, [data({ sequence: 1 })]],
      [/byte 2 of 4 came at 0/, [data({ offset: 2, bytes: new Uint8Array(2) })]],
      [/byte 0 of 4 came at 2/, [data({ bytes: new Uint8Array(2) }), data()]],
      [/came at 2/, [data({ bytes: new Uint8Array(2) }), data({ offset: 2, totalBytes: 5 })]],
      [/reaches beyond/, [data({ bytes: new Uint8Array(5) })]],
      [/announces 101 of 100/, [data({ totalBytes: 101 })]],
      [/announces 0/, [data({ totalBytes: 0, bytes: new Uint8Array(0) })]],
      [/without credit/, [data({ priority: 'control', totalBytes: 11 })]],
      [
        /acknowledges 1 of 0/,
        [{ type: 'state', state: { ...zero, bulk: { delivered: 1, consumedBytes: 0 } } }],
      ],
      [
        /credit for what/,
        [{ type: 'state', state: { ...zero, bulk: { delivered: 0, consumedBytes: 1 } } }],
      ],
      [/an end that was not sent/, [{ type: 'state', state: { ...zero, ended: true } }]],
      [/after its end/, [{ type: 'end' }, data()]],
      [/close that was not sent/, [{ type: 'closed' }]],
      [/sends welcome twice/, [welcome]],
      [/sends refused twice/, [{ type: 'refused', reason: 'no-listener' }]],
    ]
    for (const [why, frames] of bad) {
      const rig = Rig.opened()
      const effects = frames.flatMap((frame) => rig.frame(frame))
      const types = effects.map(({ type }) => type).slice(-3)
      expect(types, String(why)).toEqual(['disconnect', 'suspended', 'connect'])
      expect(effects.find(({ type }) => type === 'disconnect')).toMatchObject({
        why: expect.stringMatching(why) as string,
      })
    }
  })

  it('a peer may not speak before the greeting, nor take more than it was offered', () => {
    for (const frame of [data(), { ...welcome, bufferBytesMax: 161 }]) {
      const rig = new Rig()
      rig.session.start(0)
      rig.step({ type: 'connected', link: 1 })
      rig.session.poll()
      expect(rig.frame(frame).map(({ type }) => type)).toEqual(['disconnect', 'over'])
    }
    const early = new Rig()
    early.session.start(0)
    early.step({ type: 'connected', link: 1 })
    expect(early.frame(welcome).map(({ type }) => type)).toEqual(['disconnect', 'over'])
  })

  it('a peer may send up to its credit, and again what was consumed', () => {
    const rig = Rig.opened()
    const whole = { totalBytes: 75, bytes: new Uint8Array(75) }
    expect(rig.frame(data({ ...whole }))).toHaveLength(1)
    expect(rig.frame(data({ ...whole, sequence: 1 }))).toHaveLength(1)
    rig.step({ type: 'consumed', priority: 'bulk', bytes: 75 })
    expect(rig.session.poll()).toMatchObject({
      type: 'state',
      state: { bulk: { delivered: 2, consumedBytes: 75 } },
    })
    expect(rig.frame(data({ ...whole, sequence: 2 }))).toHaveLength(1)
    expect(rig.frame(data({ sequence: 3 }))[0]).toMatchObject({ type: 'disconnect' })
  })

  it('control overtakes inside a bulk message', () => {
    const rig = Rig.opened()
    rig.step({ type: 'send', message: message(40) })
    expect(rig.session.poll()).toMatchObject({ priority: 'bulk', offset: 0 })
    rig.step({ type: 'send', message: message(3, 'control') })
    expect(rig.frames()).toMatchObject([
      { priority: 'control', offset: 0, totalBytes: 3 },
      { priority: 'bulk', offset: 16 },
      { priority: 'bulk', offset: 32 },
    ])
  })

  it('waits for room, then for credit', () => {
    const rig = Rig.opened()
    const send = (bytes: number): string[] =>
      rig.step({ type: 'send', message: message(bytes) }).map(({ type }) => type)
    expect([send(100), send(50), send(1)]).toEqual([['accepted'], ['accepted'], []])
    expect(rig.session.waitingCount).toBe(1)
    expect(rig.poll()).toHaveLength(7 + 4)
    const bulk = { delivered: 1, consumedBytes: 0 }
    const effects = rig.frame({ type: 'state', state: { ...zero, bulk } })
    expect(effects.map(({ type }) => type)).toEqual(['released', 'accepted'])
    expect(rig.poll()).toEqual([]) // delivered, but nobody has read it
    rig.frame({ type: 'state', state: { ...zero, bulk: { delivered: 1, consumedBytes: 100 } } })
    expect(rig.poll()).toEqual(['data'])
  })

  it('keeps alive, measures the round trip, and gives a silent link up', () => {
    const rig = Rig.opened()
    expect(rig.session.nextDeadline()).toBe(100)
    expect(rig.tickAt(99)).toEqual([])
    expect(rig.poll()).toEqual([])
    rig.tickAt(100)
    expect(rig.frames()).toEqual([{ type: 'ping', token: 100 }])
    rig.now = 130
    rig.frame({ type: 'pong', token: 100 })
    rig.frame({ type: 'pong', token: 7 })
    expect(rig.session.counts.rttMs).toBe(30)
    rig.frame({ type: 'ping', token: 5 })
    expect(rig.frames()).toEqual([{ type: 'pong', token: 5 }])
    expect(rig.tickAt(429)).toEqual([])
    expect(rig.tickAt(430).map(({ type }) => type)).toEqual(['disconnect', 'suspended', 'connect'])
  })

  it('tries again at once, then later and later, up to the bound and the grace time', () => {
    const rig = Rig.opened()
    rig.step({ type: 'disconnected', link: 1, why: 'cut' })
    const waits: number[] = []
    let effects: Effect[] = []
    for (let link = 2; !effects.some(({ type }) => type === 'over'); link++) {
      expect(rig.session.linkUp).toBe(false)
      rig.step({ type: 'disconnected', link, why: 'refused' })
      const at = rig.session.nextDeadline() ?? NaN
      waits.push(at - rig.now)
      effects = rig.tickAt(at)
    }
    expect(Math.max(...waits)).toBeLessThanOrEqual(40)
    expect(waits[0]).toBeLessThanOrEqual(10)
    expect(Math.max(...waits.slice(2, -1))).toBeGreaterThan(20)
    expect(rig.now).toBe(1_000)
    expect(effects).toMatchObject([
      { type: 'over', end: { by: 'loss', why: 'no link for 1000 ms' } },
    ])
    expect(rig.session.nextDeadline()).toBeUndefined()
  })

  it('an attempt without an answer is given up', () => {
    const rig = Rig.opened()
    rig.step({ type: 'disconnected', link: 1, why: 'cut' })
    expect(rig.session.nextDeadline()).toBe(50)
    expect(rig.tickAt(50)).toMatchObject([{ type: 'disconnect', link: 2 }])
    expect(rig.step({ type: 'connected', link: 2 })).toMatchObject([
      { type: 'disconnect', link: 2, why: 'it came too late' },
    ])
  })

  it('a refusal is told: before the opening as such, later as a loss', () => {
    const fresh = new Rig()
    fresh.session.start(0)
    fresh.step({ type: 'connected', link: 1 })
    fresh.session.poll()
    const end = { by: 'refusal', reason: 'queue-full' }
    expect(fresh.frame({ type: 'refused', reason: 'queue-full' })).toMatchObject([{ end }])
    const rig = Rig.opened()
    rig.step({ type: 'disconnected', link: 1, why: 'cut' })
    rig.step({ type: 'connected', link: 2 })
    expect(rig.session.poll()).toMatchObject({ type: 'hello', attempt: 2, fresh: false })
    rig.link = 2
    expect(rig.frame({ type: 'refused', reason: 'unknown-session' })).toMatchObject([
      { type: 'over', end: { by: 'loss' } },
    ])
  })

  it('a close whose answer is lost is still a close', () => {
    const rig = Rig.opened()
    rig.step({ type: 'close' })
    expect(rig.poll()).toEqual(['close'])
    rig.step({ type: 'disconnected', link: 1, why: 'cut' })
    rig.step({ type: 'connected', link: 2 })
    rig.session.poll()
    rig.link = 2
    expect(rig.frame({ type: 'refused', reason: 'unknown-session' })).toMatchObject([
      { type: 'over', end: { by: 'local' } },
    ])
  })

  it('after the end everything is refused and nothing more is said', () => {
    const rig = Rig.opened()
    const first = message(5)
    rig.step({ type: 'send', message: first })
    expect(rig.step({ type: 'abort' })).toMatchObject([{ type: 'over', unreleased: [first] }])
    expect(rig.poll()).toEqual(['abort'])
    expect(rig.step({ type: 'send', message: message(1) })).toMatchObject([{ type: 'rejected' }])
    expect(rig.frame(data())).toEqual([])
    expect(rig.tickAt(9_999)).toEqual([])
  })

  it('withdraws what waits, not what is accepted', () => {
    const rig = Rig.opened()
    const [first, second, third] = [message(150), message(100), message(50)]
    for (const next of [first, second, third]) rig.step({ type: 'send', message: next })
    expect(rig.step({ type: 'withdraw', message: first })).toEqual([])
    expect(rig.step({ type: 'withdraw', message: second })).toEqual([
      { type: 'rejected', message: second },
    ])
    expect(rig.session.waitingCount).toBe(1)
  })

  it('random frames never throw, and never more is delivered than there was credit for', () => {
    for (let seed = 0; seed < 300; seed++) bombard(seed)
  })
})

/** Frames that mostly fit, in any order, against a session that also sends. */
function bombard(seed: number): void {
  const random = createSeededRandom(seed, 'bombard')
  const rig = Rig.opened()
  let unread = 0
  for (let count = 0; count < 200; count++) {
    rig.now += random.below(20)
    const state: SessionState = {
      control: { delivered: random.below(2), consumedBytes: random.below(3) },
      bulk: { delivered: random.below(6), consumedBytes: random.below(60) },
      ended: random.below(10) === 0,
    }
    const totalBytes = random.below(110)
    const bytes = new Uint8Array(random.below(2) === 0 ? totalBytes : random.below(20))
    const frames: ReceivedFrame[] = [
      data({ sequence: random.below(4), offset: random.below(3), totalBytes, bytes }),
      data({ sequence: count >> 3, totalBytes, bytes }),
      { type: 'state', state },
      { type: 'ping', token: 1 },
      { ...welcome, state },
    ]
    const effects = rig.frame(frames[random.below(frames.length)] ?? data())
    if (random.below(3) === 0) rig.step({ type: 'send', message: message(1 + random.below(100)) })
    rig.poll()
    for (const effect of effects) {
      if (effect.type === 'deliver') unread += effect.bytes.byteLength
      if (effect.type === 'connect') {
        rig.link = effect.link
        rig.step({ type: 'connected', link: effect.link })
        rig.poll()
      }
    }
    expect(unread).toBeLessThanOrEqual(160)
  }
}
