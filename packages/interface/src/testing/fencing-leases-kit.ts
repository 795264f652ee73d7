import assert from 'node:assert/strict'
import type { ComplianceCase, NodeId } from '../base.ts'
import type { FencingLease, FencingLeases, LeaseInit, LeaseView } from '../fencing-leases.ts'
import type { FencingLeasesSetup } from './fencing-leases-setup.ts'

/** What most cases work with: three nodes and what they write into the record. */
export interface LeaseCast {
  readonly setup: FencingLeasesSetup
  readonly ttlMs: number
  readonly a: FencingLeases
  readonly b: FencingLeases
  readonly c: FencingLeases
  /** Name of the node of `c`. */
  readonly third: NodeId
}

export function leaseCase(
  name: string,
  body: (cast: LeaseCast) => Promise<void>,
): ComplianceCase<FencingLeasesSetup> {
  return {
    name,
    run: async (make) => {
      await using setup = await make()
      const [a, b, c] = setup.clients.map(({ leases }) => leases)
      assert.ok(a !== undefined && b !== undefined && c !== undefined, 'three clients are needed')
      const third = setup.clients[2]?.self
      assert.ok(third !== undefined)
      await body({ setup, ttlMs: setup.ttlMs, a, b, c, third })
    },
  }
}

export function record(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

export function textOf({ record: bytes }: Pick<LeaseView, 'record'>): string {
  return new TextDecoder().decode(bytes)
}

export const NAME = 'vm/one'

/** `init` of an acquire that does not wait. */
export function atOnce({ ttlMs }: LeaseCast, text = ''): LeaseInit {
  return { ttlMs, record: record(text), wait: false }
}

export function waiting({ ttlMs }: LeaseCast, text = ''): LeaseInit {
  return { ttlMs, record: record(text) }
}

export async function rejectsWithCode(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error, String(error))
    assert.equal(error.code, code)
    return true
  })
}

/** Resolves with the reason when the lease is lost. */
export async function lostOf(lease: FencingLease): Promise<unknown> {
  if (!lease.lost.aborted) {
    await new Promise((resolve) => {
      lease.lost.addEventListener('abort', resolve, { once: true })
    })
  }
  return lease.lost.reason
}

export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : error
}

/** Lets time pass in small steps until `promise` settles; fails after `ttlsMax` times to live. */
export async function elapseUntil<T>(
  { setup, ttlMs }: LeaseCast,
  promise: Promise<T>,
  ttlsMax = 40,
): Promise<T> {
  let settled = false
  const watched = promise.finally(() => {
    settled = true
  })
  watched.catch(() => {}) // the caller sees it below
  const end = setup.clock.now() + ttlsMax * ttlMs
  while (!settled && setup.clock.now() < end) await setup.elapse(ttlMs / 20)
  assert.ok(settled, `nothing happened in ${ttlsMax} times to live`)
  return await watched
}
