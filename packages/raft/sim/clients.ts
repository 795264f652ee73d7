/** Clients that note what they asked and what they were told; the history must be linearizable. */
import assert from 'node:assert/strict'
import type { Host, World } from '@mycelium/simulator'
import { findViolation, type Operation } from '@mycelium/simulator'
import {
  applyToRegister,
  type Command,
  decode,
  encode,
  RegisterMachine,
} from './register-machine.ts'
import type { Judge } from './judge.ts'
import type { Reply, Request } from './sim-node.ts'

const KEYS = ['x', 'y']
/** Until it does so when told to. */
const REFUSED_MS = 20
const ATTEMPTS_MAX = 12

interface Noted {
  readonly request: Request
  readonly invokedAt: number
  returnedAt: number
  output: string | undefined
}

/** All that clients saw, with one clock. */
export class History {
  readonly noted: Noted[] = []
  #sequence = 0

  next(): number {
    return ++this.#sequence
  }

  get answered(): number {
    return this.noted.filter(({ output }) => output !== undefined).length
  }

  /**
   * What was never answered counts as what the log says of it: done, with that answer, or never.
   * That is stricter than needed, and without it each such operation would double the search.
   */
  check(judge: Judge): void {
    const outcomes = replay(judge)
    const operations: Operation<Command, string>[] = []
    for (const { request, invokedAt, returnedAt, output } of this.noted) {
      const { client, serial } = request
      const isRead = request.kind === 'get'
      const outcome = outcomes.get(`${client} ${serial}`)
      if (output !== undefined && !isRead) {
        assert.equal(outcome, output, `${client} ${serial} was acknowledged: the log differs`)
      }
      const known = output ?? (isRead ? undefined : outcome)
      if (known === undefined) continue
      const end = output === undefined ? Infinity : returnedAt
      operations.push({ client, input: request, output: known, invokedAt, returnedAt: end })
    }
    const violation = findViolation<string, Command, string>(
      {
        initial: '',
        apply: applyToRegister,
        isSame: (one, other) => one === other,
        keyOf: (state) => state,
        partitionOf: ({ key }) => key,
      },
      operations,
    )
    if (violation === undefined) return
    const words = violation.operations.slice(0, 60).map(describe).join('\n')
    assert.fail(`not linearizable: ${violation.partition}\n${words}`)
  }
}

function describe({ client, input, output, invokedAt, returnedAt }: Operation<Command, string>) {
  const { serial, kind, value, expected } = input
  return `${invokedAt}..${returnedAt} ${client} ${serial} ${kind} ${expected}>${value} = ${output}`
}

/** What each command did, by the log that all agree on. */
function replay(judge: Judge): ReadonlyMap<string, string> {
  const machine = new RegisterMachine()
  const outcomes = new Map<string, string>()
  for (const [, { data }] of [...judge.committed].sort(([a], [b]) => a - b)) {
    if (data === undefined || data.length === 0) continue
    const command = decode(data) as Command
    const output = machine.apply(command)
    if (output !== undefined) outcomes.set(`${command.client} ${command.serial}`, output)
  }
  return outcomes
}

export interface ClientInit {
  readonly name: string
  readonly nodes: readonly string[]
  readonly history: History
  /** Longest pause between operations. */
  readonly thinkMsMax: number
  /** Until it asks somebody else. */
  readonly patienceMs: number
  /** Never writes, and stays with one node for long. */
  readonly isReader: boolean
}

/** One client: an operation at a time, repeated with the same serial until it gives up. */
export function startClient(world: World, init: ClientInit): void {
  world.start(init.name, (host) => {
    const client = new Client(init, host)
    return (_, message) => client.receive(decode(message) as Reply)
  })
}

class Client {
  readonly #init: ClientInit
  readonly #host: Host
  #serial = 0
  #open: Noted | undefined
  #attempts = 0
  /** Answered last. */
  #favourite: string | undefined
  #asked = ''
  /** Who stays with one node notices when that does not know what others know. */
  #home: string | undefined

  constructor(init: ClientInit, host: Host) {
    this.#init = init
    this.#host = host
    this.#later()
  }

  #later(): void {
    const { clock, random } = this.#host
    clock.schedule(clock.now() + random.below(this.#init.thinkMsMax + 1), () => this.#begin())
  }

  #begin(): void {
    const { random } = this.#host
    const { name, history } = this.#init
    const serial = ++this.#serial
    const roll = random.below(10)
    const kind = roll < 3 || this.#init.isReader ? 'get' : roll < 9 ? 'swap' : 'compare-and-set'
    const key = KEYS[random.below(KEYS.length)] ?? 'x'
    const last = history.noted.findLast(({ request }) => request.key === key)
    const expected = last?.request.value ?? ''
    const value = kind === 'get' ? '' : `${name}/${serial}`
    const request = { client: name, serial, attempt: 0, kind, key, value, expected } as const
    const noted = { request, invokedAt: history.next(), returnedAt: Infinity, output: undefined }
    history.noted.push(noted)
    this.#open = noted
    this.#attempts = 0
    this.#attempt(noted, 1)
  }

  #attempt(noted: Noted, attempt: number): void {
    const { clock, random, send } = this.#host
    const { nodes } = this.#init
    if (this.#open !== noted || attempt <= this.#attempts) return
    if (attempt > ATTEMPTS_MAX) {
      this.#open = undefined
      return this.#begin()
    }
    this.#attempts = attempt
    const other = nodes[random.below(nodes.length)] ?? ''
    this.#asked = random.below(5) === 0 ? other : (this.#favourite ?? other)
    if (this.#init.isReader) {
      if (attempt > 2 || this.#home === undefined) this.#home = this.#asked
      this.#asked = this.#home
    }
    this.#favourite = undefined
    send(this.#asked, encode({ ...noted.request, attempt }))
    clock.schedule(clock.now() + this.#init.patienceMs, () => this.#attempt(noted, attempt + 1))
  }

  receive({ serial, output, leader }: Reply): void {
    const noted = this.#open
    if (noted?.request.serial !== serial) return
    if (output === undefined) {
      const { clock } = this.#host
      const next = this.#attempts + 1
      this.#favourite = leader
      clock.schedule(clock.now() + REFUSED_MS, () => this.#attempt(noted, next))
      return
    }
    this.#favourite = this.#asked
    noted.output = output
    noted.returnedAt = this.#init.history.next()
    this.#open = undefined
    this.#later()
  }
}
