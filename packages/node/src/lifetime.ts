import { PARENT_POLL_MS } from './constants.ts'
import { EndedError, type EndCause } from './errors.ts'

/** One process has one end, whoever asks. */
let end: AbortController | undefined

/** How this process serves, if it is a service. */
let service: ServiceInit | undefined

export interface ServiceInit {
  /**
   * Nothing but an order ends it: not the loss of its parent, of its terminal (unless it logs
   * there), or of whoever reads what it writes. An init system, nohup(1) and setsid(1) want that.
   */
  readonly isDetached: boolean
}

/**
 * The end of this process as somebody outside wants it: aborts once, with an {@link EndedError} as
 * reason, at the first of
 * - SIGINT, SIGTERM or SIGHUP,
 * - nobody reads standard output or standard error any more, or it cannot be written (seen at the
 *   next write),
 * - the parent process has gone (npm was killed: that sends no signal to its children).
 *
 * Whoever calls it must end in good time afterwards: the default action of the signals is off from
 * then on, for good. Later signals change nothing, because Ctrl-C under npm arrives twice (from the
 * terminal, and passed on by npm), and the second must not kill the stopping.
 *
 * Does not keep the process alive. Every call returns the same signal.
 */
export function untilEnd(): AbortSignal {
  end ??= watch()
  return end.signal
}

/**
 * Says that this process is a service, which ends well when it is told to end. What it writes to
 * closed pipes from then on is lost, which is no reason to end.
 *
 * @returns the signal of {@link untilEnd}
 */
export function serveUntilEnd(init: ServiceInit): AbortSignal {
  service = init
  return untilEnd()
}

/** Is this process a service that was told to end? That is no failure. */
export function isServedToItsEnd(): boolean {
  return service !== undefined && end?.signal.aborted === true && isOrder(end.signal.reason)
}

function isOrder(reason: unknown): boolean {
  return (
    reason instanceof EndedError && (reason.endedBy === 'SIGTERM' || reason.endedBy === 'SIGINT')
  )
}

/** Node forgets that nohup(1) had SIGHUP ignored, so where the log goes has to tell. */
function isOutlived(cause: EndCause): boolean {
  if (service?.isDetached !== true) return false
  if (cause === 'SIGHUP') return !process.stderr.isTTY
  return cause !== 'SIGTERM' && cause !== 'SIGINT'
}

function watch(): AbortController {
  const controller = new AbortController()
  const endBy = (cause: EndCause): void => {
    if (isOutlived(cause)) return
    if (!controller.signal.aborted) controller.abort(new EndedError(cause))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      endBy(signal)
    })
  }
  for (const stream of [process.stdout, process.stderr]) {
    // A listener for 'error' also keeps EPIPE from ending the process before it has cleaned up.
    stream.on('error', ({ code }: NodeJS.ErrnoException) => {
      endBy(code === 'EPIPE' ? 'output closed' : 'output failed')
    })
    stream.on('close', () => {
      endBy('output closed')
    })
  }
  const parent = process.ppid
  const poll = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(poll)
    endBy('parent gone')
  }, PARENT_POLL_MS)
  poll.unref()
  return controller
}
