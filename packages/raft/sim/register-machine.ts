/** Registers by name with sessions: what the simulated members agree on. */

export interface Command {
  readonly client: string
  /** Of this client's commands, growing: who repeats one is given the same answer. */
  readonly serial: number
  readonly kind: 'swap' | 'compare-and-set' | 'get'
  readonly key: string
  /** Written. */
  readonly value: string
  /** Of `compare-and-set`. */
  readonly expected: string
}

/** What an operation does to one register. `swap` and `get` answer with the old value. */
export function applyToRegister(
  old: string,
  { kind, value, expected }: Pick<Command, 'kind' | 'value' | 'expected'>,
): { readonly state: string; readonly output: string } {
  if (kind === 'get') return { state: old, output: old }
  if (kind === 'swap') return { state: value, output: old }
  return old === expected ? { state: value, output: 'set' } : { state: old, output: 'differs' }
}

interface Session {
  readonly serial: number
  readonly output: string
}

export class RegisterMachine {
  #registers = new Map<string, string>()
  #sessions = new Map<string, Session>()
  applied = 0
  appliedTerm = 0

  get(key: string): string {
    return this.#registers.get(key) ?? ''
  }

  /** The answer; `undefined`: a later one of this client was applied before. */
  apply(command: Command): string | undefined {
    const last = this.#sessions.get(command.client)
    if (last !== undefined && command.serial <= last.serial) {
      return command.serial === last.serial ? last.output : undefined
    }
    const { state, output } = applyToRegister(this.get(command.key), command)
    this.#registers.set(command.key, state)
    this.#sessions.set(command.client, { serial: command.serial, output })
    return output
  }

  save(): Uint8Array {
    const sorted = <T>(map: ReadonlyMap<string, T>): readonly (readonly [string, T])[] =>
      [...map].sort(([a], [b]) => (a < b ? -1 : 1))
    return encode([sorted(this.#registers), sorted(this.#sessions)])
  }

  load(data: Uint8Array, id: { readonly term: number; readonly index: number }): void {
    const [registers, sessions] = data.length === 0 ? [[], []] : (decode(data) as never)
    this.#registers = new Map(registers)
    this.#sessions = new Map(sessions)
    this.applied = id.index
    this.appliedTerm = id.term
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function encode(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value))
}

export function decode(bytes: Uint8Array): unknown {
  return JSON.parse(decoder.decode(bytes))
}
