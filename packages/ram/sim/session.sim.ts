/**
 * Two ends of a session on a bad network: connections break at any byte, in one direction or both,
 * noticed or not; connects are slow, fail, and arrive after newer ones; consumers are slow; memory
 * that is released is overwritten at once. Nothing may be lost, doubled, reordered or damaged.
 */
import assert from 'node:assert/strict'
import type { BulkPriority } from '@mycelium/interface'
import { createWorld, type SimulationResult, type World } from '@mycelium/simulator'
import { ChannelDecoder, encodeRefusal, type WireFrame } from '../src/channel-wire.ts'
import { Session, type SessionConfig } from '../src/core/session.ts'
import { windowBytes } from '../src/core/session-lanes.ts'
import type { SessionEffect } from '../src/core/session-types.ts'
import { contentOf, SimEnd, type SimLink, type SimMessage, SimStream } from './session-kit.ts'

export const name = 'session'

const PRIORITIES: readonly BulkPriority[] = ['control', 'bulk']
const MESSAGES_PER_CLASS = 30
const LIMITS = { bufferBytesMax: 4_000, messageBytesMax: 1_500 }
const TIMES = {
  keepAliveMs: 100,
  silenceMs: 300,
  connectMs: 200,
  backoffMs: 5,
  backoffMsMax: 80,
  fragmentBytes: 64,
}
const FAULTS_END_MS = 3_000
/** Messages are sent until then, so that much is over before the faults are. */
const SENDING_END_MS = 2_000
const STEPS_MAX = 300_000

/** A user at one end: sends, consumes slowly, and checks what it gets. */
class User {
  readonly #world: World
  readonly name: string
  readonly sent: Record<BulkPriority, SimMessage[]> = { control: [], bulk: [] }
  readonly got: Record<BulkPriority, number> = { control: 0, bulk: 0 }
  readonly unread: Record<BulkPriority, number> = { control: 0, bulk: 0 }
  readonly #outbox: SimMessage[] = []
  end: SimEnd | undefined
  peer: User | undefined
  #acceptedCount = 0
  #ended = false
  over: (SessionEffect<SimMessage> & { type: 'over' })['end'] | undefined
  peerEnded = false

  constructor(world: World, userName: string) {
    this.#world = world
    this.name = userName
  }

  begin(): void {
    const { clock, random } = this.#world
    for (const priority of PRIORITIES) {
      const bytesMax = Math.min(
        LIMITS.messageBytesMax,
        windowBytes(priority, LIMITS.bufferBytesMax),
      )
      for (let number = 0; number < MESSAGES_PER_CLASS; number++) {
        const bytes = 1 + random.below(random.below(4) === 0 ? bytesMax : 60)
        const whole = contentOf(priority, number, bytes)
        const middle = random.below(bytes)
        const parts = [whole.subarray(0, middle), whole.subarray(middle)]
        const counts = { accepted: false, releasedCount: 0, rejectedCount: 0 }
        const message: SimMessage = { priority, number, bytes, parts, ...counts }
        this.sent[priority].push(message)
      }
      const times = Array.from({ length: MESSAGES_PER_CLASS }, () => random.below(SENDING_END_MS))
      times.sort((a, b) => a - b)
      times.forEach((at, number) => {
        const message = this.sent[priority][number]
        clock.schedule(at, () => {
          if (message !== undefined) this.#outbox.push(message)
          this.sendAll()
        })
      })
    }
  }

  /** Before there is a session, messages wait. */
  sendAll(): void {
    if (this.end === undefined) return
    for (const message of this.#outbox.splice(0)) this.end.step({ type: 'send', message })
  }

  on(effect: SessionEffect<SimMessage>): void {
    const { coverage } = this.#world
    switch (effect.type) {
      case 'accepted':
        assert.equal(effect.message.accepted, false, 'accepted twice')
        effect.message.accepted = true
        if (++this.#acceptedCount === 2 * MESSAGES_PER_CLASS) this.#endSoon()
        break
      case 'rejected':
        effect.message.rejectedCount++
        break
      case 'released':
        this.#release(effect.message)
        break
      case 'deliver':
        this.#take(effect.priority, effect.bytes)
        break
      case 'peer-ended':
        assert.equal(this.peerEnded, false, 'ended twice')
        this.peerEnded = true
        break
      case 'over':
        assert.equal(this.over, undefined, 'over twice')
        this.over = effect.end
        coverage.hit(`over by ${effect.end.by}`)
        for (const message of effect.unreleased) this.#release(message)
        break
      case 'suspended':
      case 'resumed':
        coverage.hit(effect.type)
        break
      case 'disconnect':
        coverage.hit(`disconnect: ${effect.why.replaceAll(/\d+/g, 'N')}`)
        assert.doesNotMatch(effect.why, /broke the protocol/)
        break
      case 'connect':
      case 'opened':
        break
    }
  }

  /** On some seeds the end comes while the network is still bad. */
  #endSoon(): void {
    const { clock, random } = this.#world
    if (random.below(2) === 0) return
    clock.schedule(clock.now() + random.below(100), () => this.finishSending())
  }

  finishSending(): void {
    if (this.#ended) return // an end that is lost must be repeated by the session
    this.#ended = true
    this.end?.step({ type: 'end' })
  }

  /** From now on the memory is the user's again, and it uses it. */
  #release(message: SimMessage): void {
    assert.equal(message.accepted, true, 'released before it was accepted')
    assert.equal(++message.releasedCount, 1, 'released twice')
    for (const part of message.parts) part.fill(0xee)
    if (this.over !== undefined) return
    const delivered = this.peer?.got[message.priority] ?? 0
    assert.ok(message.number < delivered, 'released before it was delivered')
  }

  #take(priority: BulkPriority, bytes: Uint8Array): void {
    const { clock, random, trace } = this.#world
    const number = this.got[priority]++
    const expected = this.peer?.sent[priority][number]
    assert.ok(expected?.accepted, `${priority} ${number} was never accepted`)
    assert.deepEqual(bytes, contentOf(priority, number, expected.bytes), `${priority} ${number}`)
    assert.equal(this.peerEnded, false, 'a message after the end')
    trace.add(`${clock.now()} ${this.name} got ${priority} ${number}`)
    this.unread[priority] += bytes.byteLength
    assert.ok(this.unread[priority] <= windowBytes(priority, LIMITS.bufferBytesMax), 'unread bound')
    clock.schedule(clock.now() + random.below(60), () => {
      this.unread[priority] -= bytes.byteLength
      this.end?.step({ type: 'consumed', priority, bytes: bytes.byteLength })
    })
  }
}

/** Makes connections for an opener and gives them to the acceptor, as a listener would. */
class Connections {
  readonly #world: World
  readonly #opener: User
  readonly #acceptor: User
  readonly #makeAcceptor: (limits: SessionConfig) => SimEnd
  #faults = true
  #count = 0

  constructor(
    world: World,
    opener: User,
    acceptor: User,
    makeAcceptor: (limits: SessionConfig) => SimEnd,
  ) {
    this.#world = world
    this.#opener = opener
    this.#acceptor = acceptor
    this.#makeAcceptor = makeAcceptor
  }

  stopFaults(): void {
    this.#faults = false
  }

  connect(attempt: number): void {
    const { clock, random, coverage } = this.#world
    const chance = (percent: number): boolean => this.#faults && random.below(100) < percent
    // Mostly the first one works: what cannot open has nothing to lose.
    if (chance(attempt === 1 ? 2 : 20)) {
      coverage.hit('connect failed')
      clock.schedule(clock.now() + random.below(50), () => {
        const why = 'refused'
        this.#opener.end?.step({ type: 'disconnected', link: attempt, why })
      })
      return
    }
    const delayMs = chance(10) ? random.below(400) : random.below(20)
    if (delayMs > TIMES.connectMs) coverage.hit('connect too late')
    clock.schedule(clock.now() + delayMs, () => this.#connected(attempt))
  }

  #connected(attempt: number): void {
    const { random } = this.#world
    const near = this.#opener.end
    if (near === undefined || !near.isAlive) return
    const number = 1_000 + ++this.#count
    const far: { end: SimEnd | undefined; decoder: ChannelDecoder } = {
      end: undefined,
      decoder: new ChannelDecoder(),
    }
    const endless = Number.MAX_SAFE_INTEGER
    const life = (): number => {
      if (!this.#faults) return endless
      if (attempt === 1) return 300 + random.below(8_000)
      return random.below(6) === 0 ? 1 + random.below(120) : 1 + random.below(8_000)
    }
    // A slow connection: its hello may arrive after that of a newer one.
    const delayMs = this.#faults && attempt > 1 && random.below(8) === 0 ? random.below(400) : 0
    const toOpener = new SimStream(this.#world, {
      bytesLeft: life(),
      delayMs,
      arrive: (bytes) => near.read(attempt, bytes),
      writable: () => far.end?.pump(),
    })
    const toAcceptor = new SimStream(this.#world, {
      bytesLeft: life(),
      delayMs,
      arrive: (bytes) => {
        if (far.end !== undefined) return far.end.read(number, bytes)
        far.decoder.push(bytes, (frame) => {
          // The frames behind a hello belong to the session, also those of the same chunk.
          if (far.end === undefined) far.end = this.#greet(frame, number, toOpener, far.decoder)
          else if (frame.type !== 'hello') far.end.step({ type: 'frame', link: number, frame })
        })
      },
      writable: () => near.pump(),
    })
    this.#wireCuts(attempt, number, near, far, toAcceptor, toOpener)
    near.attach(attempt, {
      out: toAcceptor,
      decoder: new ChannelDecoder(),
      hangUp: () => this.#later(() => far.end?.gone(number)),
    })
    near.step({ type: 'connected', link: attempt })
  }

  /** A cut is noticed by both sides, by one, or by none: then only silence tells. */
  #wireCuts(
    attempt: number,
    number: number,
    near: SimEnd,
    far: { end: SimEnd | undefined },
    ...streams: SimStream[]
  ): void {
    const { random, coverage } = this.#world
    for (const stream of streams) {
      stream.onCut = () => {
        const noticed = random.below(4)
        coverage.hit(['cut unnoticed', 'cut seen here', 'cut seen there', 'cut'][noticed] ?? '')
        if ((noticed & 1) !== 0) this.#later(() => near.gone(attempt))
        if ((noticed & 2) !== 0) this.#later(() => far.end?.gone(number))
      }
    }
  }

  #later(action: () => void): void {
    const { clock, random } = this.#world
    clock.schedule(clock.now() + 1 + random.below(40), action)
  }

  #greet(
    frame: WireFrame,
    number: number,
    toOpener: SimStream,
    decoder: ChannelDecoder,
  ): SimEnd | undefined {
    assert.equal(frame.type, 'hello')
    if (frame.type !== 'hello') return undefined
    const known = this.#acceptor.end
    if (known === undefined ? !frame.fresh : !known.isAlive || this.#acceptor.over !== undefined) {
      toOpener.write([encodeRefusal('unknown-session')])
      return undefined
    }
    const end =
      known ?? this.#makeAcceptor({ ...LIMITS, ...frame, ...TIMES, graceMs: 0, role: 'acceptor' })
    this.#acceptor.end = end
    const link: SimLink = {
      out: toOpener,
      decoder,
      hangUp: () => this.#later(() => this.#opener.end?.gone(frame.attempt)),
    }
    end.attach(number, link)
    end.step({ type: 'attached', link: number, attempt: frame.attempt, state: frame.state })
    this.#acceptor.sendAll()
    return end
  }
}

/** One seed. @throws {AssertionError} something was lost, doubled, reordered or damaged */
export function simulate(seed: number): SimulationResult {
  const world = createWorld({ seed })
  const { clock, random, coverage } = world
  // Swarm: some seeds have a grace time that a run of bad luck can exceed, some a crash.
  const graceMs = random.below(5) === 0 ? 400 : 60_000
  const crashes = random.below(8) === 0
  const opener = new User(world, 'opener')
  const acceptor = new User(world, 'acceptor')
  opener.peer = acceptor
  acceptor.peer = opener
  const allocate = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(0xaa)
  const make = (user: User, role: 'opener' | 'acceptor'): SimEnd => {
    const config: SessionConfig = { ...LIMITS, ...TIMES, graceMs, role }
    const session = new Session<SimMessage>({ random: random.fork(role), allocate }, config)
    return new SimEnd(world, user.name, session, (effect) => {
      user.on(effect)
      if (effect.type === 'connect') connections.connect(effect.link)
    })
  }
  const connections: Connections = new Connections(world, opener, acceptor, () =>
    make(acceptor, 'acceptor'),
  )
  opener.end = make(opener, 'opener')
  opener.end.carryOut(opener.end.session.start(clock.now()))
  opener.begin()
  acceptor.begin()
  if (crashes) {
    clock.schedule(random.below(FAULTS_END_MS), () => {
      if (acceptor.end === undefined) return // nothing there to crash yet
      coverage.hit('crash')
      acceptor.end.crash()
    })
  }
  clock.advanceSync(FAULTS_END_MS, { stepsMax: STEPS_MAX })
  connections.stopFaults()
  clock.advanceSync(20_000, { stepsMax: STEPS_MAX })
  finish(world, opener, acceptor)
  return world.result()
}

/** Liveness: on a healed network everything arrives, both ends end, and the session closes. */
function finish(world: World, opener: User, acceptor: User): void {
  const crashed = acceptor.end?.isAlive === false
  const { clock, coverage } = world
  const failed = opener.over !== undefined || acceptor.over !== undefined
  if (failed || crashed || acceptor.end === undefined) {
    coverage.hit('lost session')
    clock.advanceSync(120_000, { stepsMax: STEPS_MAX })
    assert.ok(opener.over !== undefined, 'the opener never learned of the loss')
    assert.ok(crashed || acceptor.end === undefined || acceptor.over !== undefined, 'half open')
    return
  }
  checkAllDelivered(opener)
  checkAllDelivered(acceptor)
  for (const user of [opener, acceptor]) user.finishSending()
  clock.advanceSync(2_000, { stepsMax: STEPS_MAX })
  assert.ok(opener.peerEnded && acceptor.peerEnded, 'an end did not arrive')
  opener.end?.step({ type: 'close' })
  clock.advanceSync(2_000, { stepsMax: STEPS_MAX })
  assert.deepEqual([opener.over, acceptor.over], [{ by: 'local' }, { by: 'peer' }])
  coverage.hit('everything delivered')
  coverage.hit('bytes resent', opener.end?.session.counts.resentBytes ?? 0)
}

function checkAllDelivered(user: User): void {
  for (const priority of PRIORITIES) {
    const peerGot = user.peer?.got[priority]
    assert.equal(peerGot, MESSAGES_PER_CLASS, `${priority} of ${user.name} arrived`)
    for (const message of user.sent[priority]) {
      assert.equal(message.releasedCount, 1, `${priority} ${message.number} is not released`)
      assert.equal(message.rejectedCount, 0)
    }
  }
}
