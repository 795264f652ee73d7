/**
 * QMP without I/O: cuts bytes into lines, checks them, and matches replies with commands by id
 * (QEMU, docs/interop/qmp-spec.rst).
 */

/** Longest line from QEMU. The longest that we ask for, `query-commands`, has about 20 KiB. */
export const QMP_LINE_BYTES_MAX = 1_048_576
/** Commands without a reply. The driver never has more than three; more is a leak of the caller. */
export const QMP_PENDING_MAX = 64

export interface QmpCommand {
  readonly execute: string
  readonly arguments?: object
}

export interface QmpEventRecord {
  readonly name: string
  readonly data: Readonly<Record<string, unknown>>
  /** By QEMU's wall clock, in milliseconds; for people only. */
  readonly unixMs: number
}

export type QmpInput =
  | { readonly type: 'bytes'; readonly bytes: Uint8Array }
  | { readonly type: 'commands'; readonly commands: readonly QmpCommand[] }

/** Effects are in order. After `broken` nothing more comes, and the connection must be closed. */
export type QmpEffect =
  | { readonly type: 'greeting'; readonly version: QmpVersion }
  | { readonly type: 'write'; readonly text: string; readonly ids: readonly number[] }
  | { readonly type: 'returned'; readonly id: number; readonly value: unknown }
  | {
      readonly type: 'failed'
      readonly id: number
      readonly qmpClass: string
      readonly description: string
    }
  | { readonly type: 'event'; readonly event: QmpEventRecord }
  /** Nothing was sent, because {@link QMP_PENDING_MAX} commands would have been exceeded. */
  | { readonly type: 'full' }
  | { readonly type: 'broken'; readonly reason: string }

export interface QmpVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
  /** The distributor's addition, as `Debian 1:7.2+dfsg-7`; may be empty. */
  readonly package: string
}

type JsonObject = Readonly<Record<string, unknown>>

const NEWLINE = 0x0a

export class QmpSession {
  readonly #pending = new Set<number>()
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })
  #parts: Uint8Array[] = []
  #partBytes = 0
  #nextId = 1
  #greeted = false
  #broken = false

  step(input: QmpInput): QmpEffect[] {
    if (this.#broken) return []
    switch (input.type) {
      case 'bytes':
        return this.#receive(input.bytes)
      case 'commands':
        return [this.#send(input.commands)]
    }
  }

  #send(commands: readonly QmpCommand[]): QmpEffect {
    if (this.#pending.size + commands.length > QMP_PENDING_MAX) return { type: 'full' }
    const ids = commands.map(() => this.#nextId++)
    const text = commands
      .map((command, index) => `${JSON.stringify({ ...command, id: ids[index] })}\n`)
      .join('')
    for (const id of ids) this.#pending.add(id)
    return { type: 'write', text, ids }
  }

  #receive(bytes: Uint8Array): QmpEffect[] {
    const effects: QmpEffect[] = []
    let start = 0
    while (!this.#broken) {
      const end = bytes.indexOf(NEWLINE, start)
      const part = bytes.subarray(start, end < 0 ? bytes.length : end)
      if (this.#partBytes + part.length > QMP_LINE_BYTES_MAX) {
        effects.push(this.#break(`a line is longer than ${QMP_LINE_BYTES_MAX} bytes`))
        break
      }
      // A copy: the bytes belong to the caller and may change after this step.
      if (part.length > 0) this.#parts.push(part.slice())
      this.#partBytes += part.length
      if (end < 0) break
      start = end + 1
      const effect = this.#line(this.#takeLine())
      if (effect) effects.push(effect)
    }
    return effects
  }

  #takeLine(): Uint8Array {
    const line = new Uint8Array(this.#partBytes)
    let offset = 0
    for (const part of this.#parts) {
      line.set(part, offset)
      offset += part.length
    }
    this.#parts = []
    this.#partBytes = 0
    return line
  }

  #line(line: Uint8Array): QmpEffect | undefined {
    let message: unknown
    try {
      const text = this.#decoder.decode(line).trim()
      if (text === '') return undefined
      message = JSON.parse(text)
    } catch {
      return this.#break('a line is no JSON')
    }
    if (!isObject(message)) return this.#break('a line is no JSON object')
    if (!this.#greeted) return this.#greeting(message)
    if ('event' in message) return this.#event(message)
    return this.#reply(message)
  }

  #greeting(message: JsonObject): QmpEffect {
    const greeting = message['QMP']
    const version = isObject(greeting) ? greeting['version'] : undefined
    const numbers = isObject(version) ? version['qemu'] : undefined
    if (!isObject(version) || !isObject(numbers)) return this.#break('no QMP greeting came')
    const { major, minor, micro } = numbers
    if (!isCount(major) || !isCount(minor) || !isCount(micro)) {
      return this.#break('the greeting names no version')
    }
    this.#greeted = true
    const name = version['package']
    return {
      type: 'greeting',
      version: { major, minor, micro, package: typeof name === 'string' ? name : '' },
    }
  }

  #event(message: JsonObject): QmpEffect {
    const { event: name, data = {}, timestamp } = message
    if (typeof name !== 'string' || !isObject(data)) return this.#break('an event has no name')
    const { seconds = 0, microseconds = 0 } = isObject(timestamp) ? timestamp : {}
    if (typeof seconds !== 'number' || typeof microseconds !== 'number') {
      return this.#break(`the event ${name} has a bad time`)
    }
    return {
      type: 'event',
      event: { name, data, unixMs: seconds * 1_000 + microseconds / 1_000 },
    }
  }

  #reply(message: JsonObject): QmpEffect {
    const { id, error } = message
    if (typeof id !== 'number' || !this.#pending.delete(id)) {
      return this.#break(`a reply to no command of ours came: ${excerpt(message)}`)
    }
    if ('return' in message) return { type: 'returned', id, value: message['return'] }
    if (!isObject(error)) return this.#break('a reply is neither a result nor an error')
    const { class: qmpClass, desc } = error
    return {
      type: 'failed',
      id,
      qmpClass: typeof qmpClass === 'string' ? qmpClass : 'GenericError',
      description: typeof desc === 'string' ? desc : 'no description',
    }
  }

  #break(reason: string): QmpEffect {
    this.#broken = true
    this.#parts = []
    this.#partBytes = 0
    return { type: 'broken', reason }
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function excerpt(message: JsonObject): string {
  return JSON.stringify(message).slice(0, 120)
}
