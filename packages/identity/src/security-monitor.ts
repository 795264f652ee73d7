import type { Clock } from '@mycelium/interface'
import type { AuditEntry, AuditSink } from './core/audit-entry.ts'
import { ALL_SOURCES, SecurityMonitorCore, securityCauseOf } from './core/security-monitor.ts'
import type { SecurityEvent, SecurityFinding, SecurityMetrics } from './core/security-monitor.ts'
import type { RefusalReason } from './core/model.ts'

export interface SecurityMonitorDeps {
  readonly clock: Clock
  /** Gets all that the monitor gets, and its findings. */
  readonly audit: AuditSink
  /** What is to be done about a finding, besides the entry; the default is nothing. */
  readonly respond?: (finding: SecurityFinding) => void
}

/**
 * Stands before an audit log: passes entries on, learns from refusals by this node, and adds
 * `security:finding` entries when a rule is broken.
 */
export interface SecurityMonitor extends AuditSink {
  readonly metrics: SecurityMetrics
  /** For what is no entry. */
  observe(event: SecurityEvent): void
  /** Idempotent. Events after it are still passed on. */
  stop(): void
}

export function createSecurityMonitor(deps: SecurityMonitorDeps): SecurityMonitor {
  return new EntryMonitor(deps)
}

class EntryMonitor implements SecurityMonitor {
  readonly #deps: SecurityMonitorDeps
  readonly #core = new SecurityMonitorCore()
  #cancelTimer: () => void = () => {}
  #isStopped = false

  constructor(deps: SecurityMonitorDeps) {
    this.#deps = deps
  }

  get metrics(): SecurityMetrics {
    return this.#core.metrics
  }

  append(entry: AuditEntry): void {
    this.#deps.audit.append(entry)
    const { event, reason, address } = entry
    if (event !== 'member:refused' || reason === undefined) return
    const cause = securityCauseOf(reason as RefusalReason)
    if (cause !== undefined) this.observe({ cause, source: address ?? 'unknown' })
  }

  observe(event: SecurityEvent): void {
    if (this.#isStopped) return
    this.#tell(this.#core.observe(event, this.#deps.clock.now()))
    this.#arm()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelTimer()
  }

  #arm(): void {
    this.#cancelTimer()
    const at = this.#core.nextDeadline()
    if (at === undefined) return
    this.#cancelTimer = this.#deps.clock.schedule(at, () => {
      this.#tell(this.#core.tick(this.#deps.clock.now()))
      this.#arm()
    })
  }

  #tell(findings: readonly SecurityFinding[]): void {
    for (const finding of findings) {
      const { rule, source, count } = finding
      this.#deps.audit.append({
        event: 'security:finding',
        reason: rule,
        ...(source !== ALL_SOURCES && { address: source }),
        detail: { count },
      })
      this.#deps.respond?.(finding)
    }
  }
}
