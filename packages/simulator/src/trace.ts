/**
 * What happened, as a running hash: the same seed must give the same trace, else the simulation
 * depends on something that it does not control.
 */
export interface Trace {
  /** Adds one event, e.g. `12 ms a->b vote`. Kept as text only while `keep` is on. */
  add(event: string): void
  /** 16 hexadecimal digits over all events so far, in order. */
  readonly hash: string
  readonly eventCount: number
  /** The last events, oldest first; empty unless kept. */
  readonly events: readonly string[]
}

export interface TraceInit {
  /** Events to keep as text. @default 0 */
  readonly keep?: number
}

/** FNV-1a, 64 bits: start value in two halves, and the low part of the prime 2^40 + 0x1b3. */
const OFFSET_HIGH = 0xcbf29ce4
const OFFSET_LOW = 0x84222325
const PRIME_LOW = 0x1b3

export function createTrace({ keep = 0 }: TraceInit = {}): Trace {
  let high = OFFSET_HIGH
  let low = OFFSET_LOW
  let eventCount = 0
  const events: string[] = []
  // In two halves: bigints would make the trace the slowest part of a simulation.
  const mix = (unit: number): void => {
    low = (low ^ unit) >>> 0
    const [h, l] = multiplyByPrime(high, low)
    high = h
    low = l
  }
  return {
    add: (event) => {
      for (let index = 0; index < event.length; index++) mix(event.charCodeAt(index))
      mix(0x1_0000) // no text has it: 'ab','c' and 'a','bc' differ
      eventCount++
      if (keep === 0) return
      events.push(event)
      if (events.length > keep) events.shift()
    },
    get hash() {
      return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
    },
    get eventCount() {
      return eventCount
    },
    events,
  }
}

/** (high, low) x (2^40 + 0x1b3) mod 2^64. */
function multiplyByPrime(high: number, low: number): [number, number] {
  const product = low * PRIME_LOW // below 2^41: exact
  const carry = Math.floor(product / 2 ** 32)
  const upper = (Math.imul(high, PRIME_LOW) + carry + ((low << 8) >>> 0)) >>> 0
  return [upper, product >>> 0]
}
