import type { EndophyteEvents, EpochReport } from '@mycelium/endophyte'
import type { CommandContext } from '../context.ts'
import type { HostProcess } from './host-process.ts'
import type { KillReport } from './report.ts'

/** Between two lines of figures where no line can be redrawn. */
const PLAIN_LINE_MS = 2_000

/** Between two redrawings: more than ten a second nobody reads. */
const REDRAW_MS = 100

/** Lines of progress: one that is redrawn on a terminal, some of many elsewhere. */
export class LiveView {
  readonly #context: Pick<CommandContext, 'isLive' | 'progress'>
  #drawnAt = -Infinity
  #epochs = 0
  #isOpen = false

  readonly #write: (text: string) => unknown
  readonly #columns: () => number

  /** @param write - to the terminal, if `context` says that somebody is looking */
  constructor(
    context: Pick<CommandContext, 'isLive' | 'progress'>,
    write: (text: string) => unknown = (text) => process.stdout.write(text),
    columns: () => number = () => process.stdout.columns,
  ) {
    this.#context = context
    this.#write = write
    this.#columns = columns
  }

  /** A line that stays. */
  note(line: string): void {
    this.#clear()
    this.#context.progress(line)
  }

  epoch(host: Pick<HostProcess, 'id' | 'lastTick'>, epoch: EpochReport): void {
    this.#epochs++
    const now = epoch.startedAt
    const elapsedMs = now - this.#drawnAt
    if (elapsedMs < (this.#context.isLive ? REDRAW_MS : PLAIN_LINE_MS)) return
    const rate = Number.isFinite(elapsedMs) ? (this.#epochs * 1000) / elapsedMs : 0
    this.#drawnAt = now
    this.#epochs = 0
    const line =
      `${host.id}  epoch ${epoch.name}  ${rate.toFixed(1)}/s  ` +
      `pause ${epoch.pauseMs.toFixed(1)} ms  lag ${epoch.lagMs.toFixed(1)} ms  ` +
      `${epoch.dirtyPages} pages  ${Math.round(epoch.bytes / 1024)} KiB  ` +
      `counter ${host.lastTick?.tick ?? '-'}`
    if (this.#context.isLive) {
      this.#isOpen = true
      // Never wider than the terminal: of a line that wraps only the last row could be redrawn.
      this.#write(`\r\x1b[2K${line.slice(0, this.#columns() - 1)}`)
    } else {
      this.#context.progress(line)
    }
  }

  /** The line that is redrawn gives way. */
  end(): void {
    this.#clear()
  }

  #clear(): void {
    if (this.#isOpen) this.#write('\r\x1b[2K')
    this.#isOpen = false
  }
}

/** The timeline of one kill. */
export function describeKill(
  kill: KillReport,
  takeover: EndophyteEvents['takeover'],
  lastTick: number | undefined,
  firstTick: number,
): readonly string[] {
  const { detectMs, leaseMs, loadMs, totalMs } = kill
  const at = (ms: number): string => `${ms} ms`.padStart(9)
  return [
    `${at(0)}  killed, the last counter it printed was ${lastTick ?? 'none'}`,
    `${at(detectMs)}  death detected`,
    `${at(detectMs + leaseMs)}  lease ${takeover.fencing} granted`,
    `${at(detectMs + leaseMs + loadMs)}  epoch ${takeover.epoch} loaded`,
    `${at(totalMs)}  first output of the guest: counter ${firstTick}${behind(lastTick, firstTick)}`,
  ]
}

/** What the last checkpoint did not have is done again. */
function behind(lastTick: number | undefined, firstTick: number): string {
  const again = (lastTick ?? 0) - firstTick + 1
  if (again <= 0) return ''
  return `; since the checkpoint the dead copy had counted ${again}, which is done again`
}
