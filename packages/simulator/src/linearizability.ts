import { SimulationStuckError } from './errors.ts'

/** One call of a client, as it saw it. */
export interface Operation<Input, Output> {
  readonly client: string
  readonly input: Input
  /** Absent: no answer came. It may have happened at any time since, or never. */
  readonly output?: Output
  /** Any clock that all clients share. */
  readonly invokedAt: number
  /** Of no meaning without `output`. */
  readonly returnedAt: number
}

/** What a single copy would do, one operation after the other. */
export interface SequentialModel<State, Input, Output> {
  readonly initial: State
  /** Must not change `state`. */
  apply(state: State, input: Input): { readonly state: State; readonly output: Output }
  isSame(one: Output, other: Output): boolean
  /** Different for different states. */
  keyOf(state: State): string
  /** Operations of different partitions do not touch each other. @default one partition */
  partitionOf?(input: Input): string
}

export interface LinearizabilityInit {
  /** Bound on steps of the search in one partition. @default 5_000_000 */
  readonly stepsMax?: number
}

/** A partition that no order explains. */
export interface Violation<Input, Output> {
  readonly partition: string
  readonly operations: readonly Operation<Input, Output>[]
}

const STEPS_MAX_DEFAULT = 5_000_000

/**
 * Is there an order of all answered operations (and of some others) that `model` would have
 * answered the same, and in which none comes before one that had returned when it was invoked?
 *
 * Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with the cache of Lowe,
 * "Testing for linearizability" (2017): the same set of operations and the same state are tried
 * once. Partitions are checked one by one, for linearizability is local (Herlihy and Wing, 1990).
 *
 * @returns `undefined`: it is linearizable
 * @throws {SimulationStuckError} `ERR_SIMULATION_STUCK`: undecided after `stepsMax` steps
 */
export function findViolation<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  { stepsMax = STEPS_MAX_DEFAULT }: LinearizabilityInit = {},
): Violation<Input, Output> | undefined {
  const partitions = new Map<string, Operation<Input, Output>[]>()
  for (const operation of operations) {
    const partition = model.partitionOf?.(operation.input) ?? ''
    const list = partitions.get(partition) ?? []
    list.push(operation)
    partitions.set(partition, list)
  }
  for (const [partition, list] of partitions) {
    if (!new Search(model, list).run(stepsMax)) return { partition, operations: list }
  }
  return undefined
}

/** In a doubly linked list, so that taking out and putting back is cheap. */
interface Event {
  readonly index: number
  readonly isCall: boolean
  previous: Event | undefined
  next: Event | undefined
}

class Search<State, Input, Output> {
  readonly #model: SequentialModel<State, Input, Output>
  readonly #operations: readonly Operation<Input, Output>[]
  /** Before the first event. */
  readonly #head: Event = { index: -1, isCall: true, previous: undefined, next: undefined }
  /** Of each operation: where it was invoked, and where it returned. */
  readonly #calls: Event[] = []
  readonly #returns: (Event | undefined)[] = []
  /** Bits of operations that have their place in the order. */
  readonly #placed: Uint32Array
  readonly #seen = new Set<string>()
  /** Answered and without a place. */
  #open: number

  constructor(
    model: SequentialModel<State, Input, Output>,
    operations: readonly Operation<Input, Output>[],
  ) {
    this.#model = model
    this.#operations = operations
    this.#placed = new Uint32Array(Math.ceil(operations.length / 32))
    this.#open = operations.filter(isAnswered).length
    this.#link()
  }

  #link(): void {
    const events: { readonly at: number; readonly event: Event }[] = []
    for (const [index, operation] of this.#operations.entries()) {
      const call: Event = { index, isCall: true, previous: undefined, next: undefined }
      this.#calls.push(call)
      events.push({ at: operation.invokedAt, event: call })
      const back = isAnswered(operation) ? { ...call, isCall: false } : undefined
      this.#returns.push(back)
      if (back !== undefined) events.push({ at: operation.returnedAt, event: back })
    }
    // At the same time: they overlap, which forbids less.
    const order = (event: Event): number => (event.isCall ? 0 : 1)
    events.sort((one, other) => one.at - other.at || order(one.event) - order(other.event))
    let last = this.#head
    for (const { event } of events) {
      last.next = event
      event.previous = last
      last = event
    }
  }

  run(stepsMax: number): boolean {
    const stack: { readonly index: number; readonly state: State }[] = []
    let { initial: state } = this.#model
    let event = this.#head.next
    for (let steps = 0; this.#open > 0; steps++) {
      if (steps >= stepsMax) throw new SimulationStuckError(0, `no decision in ${stepsMax} steps`)
      const next = event?.isCall ? this.#place(event.index, state) : undefined
      if (next !== undefined && event !== undefined) {
        stack.push({ index: event.index, state })
        state = next.state
        event = this.#head.next
      } else if (event?.isCall) {
        event = event.next
      } else {
        // Something has returned that found no place: another choice before it.
        const undone = stack.pop()
        if (undone === undefined) return false
        state = undone.state
        event = this.#unplace(undone.index)
      }
    }
    return true
  }

  #place(index: number, state: State): { readonly state: State } | undefined {
    const operation = this.#operations[index]
    if (operation === undefined) return undefined
    const applied = this.#model.apply(state, operation.input)
    const isExplained =
      operation.output === undefined || this.#model.isSame(applied.output, operation.output)
    if (!isExplained) return undefined
    this.#flip(index)
    const key = `${this.#placed.join()}/${this.#model.keyOf(applied.state)}`
    if (this.#seen.has(key)) {
      this.#flip(index)
      return undefined
    }
    this.#seen.add(key)
    this.#unlink(this.#calls[index])
    if (this.#returns[index] !== undefined) {
      this.#unlink(this.#returns[index])
      this.#open--
    }
    return applied
  }

  /** Returns what follows its call. */
  #unplace(index: number): Event | undefined {
    this.#flip(index)
    const back = this.#returns[index]
    if (back !== undefined) {
      this.#relink(back)
      this.#open++
    }
    const call = this.#calls[index]
    if (call !== undefined) this.#relink(call)
    return call?.next
  }

  #flip(index: number): void {
    this.#placed[index >>> 5] = (this.#placed[index >>> 5] ?? 0) ^ (1 << (index & 31))
  }

  #unlink(event: Event | undefined): void {
    if (event?.previous !== undefined) event.previous.next = event.next
    if (event?.next !== undefined) event.next.previous = event.previous
  }

  /** In the opposite order of unlinking. */
  #relink(event: Event): void {
    if (event.previous !== undefined) event.previous.next = event
    if (event.next !== undefined) event.next.previous = event
  }
}

function isAnswered({ output }: { readonly output?: unknown }): boolean {
  return output !== undefined
}
