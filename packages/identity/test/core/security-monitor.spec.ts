import assert from 'node:assert/strict'
import { createVirtualClock } from '@mycelium/simulator'
import { describe, test } from 'vitest'
import type { AuditEntry } from '../../src/core/audit-entry.ts'
import {
  ALL_SOURCES,
  FINDINGS_MAX,
  ROUND_MS,
  RULES,
  SOURCES_MAX,
  SecurityMonitorCore,
  securityCauseOf,
} from '../../src/core/security-monitor.ts'
import type { SecurityCause, SecurityFinding } from '../../src/core/security-monitor.ts'
import { createSecurityMonitor } from '../../src/security-monitor.ts'

function observe(
  core: SecurityMonitorCore,
  times: number,
  { cause = 'signature' as SecurityCause, source = 'a', now = 0 } = {},
): void {
  for (let i = 0; i < times; i++) core.observe({ cause, source }, now)
}

describe('rules', () => {
  for (const { rule, causes, perSource, inAll } of RULES) {
    // A cause that breaks no other rule at these counts, where there is one.
    const cause = rule === 'rate' ? 'abuse' : (causes[0] ?? 'abuse')

    test(`${rule}: one source breaks it at ${perSource} in a minute, not below`, () => {
      const core = new SecurityMonitorCore()
      observe(core, perSource - 1, { cause })
      assert.deepEqual(core.tick(ROUND_MS), [])
      observe(core, 1, { cause, now: ROUND_MS })
      assert.deepEqual(core.tick(2 * ROUND_MS), [{ rule, source: 'a', count: perSource }])
      assert.equal(core.metrics.findingsTotal[rule], 1)
    })

    test(`${rule}: many sources break it together at ${inAll}`, () => {
      const core = new SecurityMonitorCore()
      for (let i = 0; i < inAll - 1; i++) core.observe({ cause, source: `${i}` }, 0)
      assert.deepEqual(core.tick(ROUND_MS), [])
      core.observe({ cause, source: 'last' }, ROUND_MS)
      const finding = { rule, source: ALL_SOURCES, count: inAll }
      assert.deepEqual(core.tick(2 * ROUND_MS), [finding])
    })
  }

  test('count over a minute and no longer', () => {
    const core = new SecurityMonitorCore()
    observe(core, 2)
    assert.deepEqual(core.tick(5 * ROUND_MS), [])
    observe(core, 1, { now: 5 * ROUND_MS })
    assert.equal(core.tick(6 * ROUND_MS).length, 1)
    const other = new SecurityMonitorCore()
    observe(other, 2)
    assert.deepEqual(other.tick(6 * ROUND_MS), [])
    observe(other, 1, { now: 6 * ROUND_MS })
    assert.deepEqual(other.tick(7 * ROUND_MS), [])
  })

  test('are looked at every 10 s, and one that stays broken is told of once a minute', () => {
    const core = new SecurityMonitorCore()
    const told: number[] = []
    for (let now = 0; now < 180_000; now += 1000) {
      for (const { rule, source } of core.observe({ cause: 'replay', source: 'a' }, now)) {
        if (rule === 'replay' && source === 'a') told.push(now)
      }
    }
    assert.deepEqual(told, [10_000, 70_000, 130_000])
  })

  test('end with the events: then nothing is kept and no time is set', () => {
    const core = new SecurityMonitorCore()
    observe(core, 5)
    assert.equal(core.nextDeadline(), ROUND_MS)
    let last = 0
    for (let at = core.nextDeadline(); at !== undefined; at = core.nextDeadline()) {
      last = at
      core.tick(at)
    }
    assert.ok(last <= 60_000)
    assert.equal(core.metrics.sources, 0)
    observe(core, 3, { now: 1_000_000 })
    assert.equal(core.tick(1_000_000 + ROUND_MS).length, 1)
    assert.deepEqual(core.tick(1e12), [])
    assert.equal(core.nextDeadline(), undefined)
  })
})

test('memory and findings are bounded, whoever comes', () => {
  const core = new SecurityMonitorCore()
  for (let i = 0; i < 3 * SOURCES_MAX; i++) observe(core, 3, { source: `${i}` })
  assert.equal(core.metrics.sources, SOURCES_MAX)
  assert.equal(core.metrics.sourcelessTotal, 3 * 2 * SOURCES_MAX)
  const findings = core.tick(ROUND_MS)
  assert.equal(findings.length, FINDINGS_MAX)
  assert.ok(findings.some(({ rule, source }) => rule === 'signature' && source === ALL_SOURCES))
  assert.equal(core.metrics.findingsTotal.signature, SOURCES_MAX + 1)
  assert.equal(core.metrics.eventsTotal.signature, 9 * SOURCES_MAX)
})

test('refusals have the cause that their name says', () => {
  assert.equal(securityCauseOf('no-possession'), 'signature')
  assert.equal(securityCauseOf('token-used'), 'replay')
  assert.equal(securityCauseOf('wrong-network'), 'authentication')
  assert.equal(securityCauseOf('busy'), 'abuse')
  assert.equal(securityCauseOf('incompatible'), undefined)
})

test('before an audit log: entries go through, findings are added, one may respond', async () => {
  const clock = createVirtualClock()
  const entries: AuditEntry[] = []
  const responses: SecurityFinding[] = []
  const monitor = createSecurityMonitor({
    clock,
    audit: { append: (entry) => void entries.push(entry) },
    respond: (finding) => void responses.push(finding),
  })
  const refusal = { event: 'member:refused', reason: 'no-possession', address: '/ip4/1.2.3.4' }
  for (let i = 0; i < 3; i++) monitor.append(refusal)
  monitor.append({ event: 'member:refused-by-peer', reason: 'no-possession', address: 'b' })
  monitor.append({ event: 'member:admitted' })
  assert.equal(entries.length, 5)
  await clock.advance(ROUND_MS)
  assert.deepEqual(entries.slice(5), [
    {
      event: 'security:finding',
      reason: 'signature',
      address: '/ip4/1.2.3.4',
      detail: { count: 3 },
    },
  ])
  assert.deepEqual(responses, [{ rule: 'signature', source: '/ip4/1.2.3.4', count: 3 }])
  assert.equal(monitor.metrics.eventsTotal.signature, 3)
  await clock.advance(100_000)
  assert.equal(clock.pendingCount, 0)
  monitor.append(refusal)
  assert.equal(clock.pendingCount, 1)
  monitor.stop()
  monitor.append(refusal)
  assert.equal(clock.pendingCount, 0)
  assert.equal(entries.length, 8)
})
