/** The peer broke the protocol of a session. Never leaves the core: it costs the peer its link. */
export class SessionViolation extends Error {
  override get name(): 'SessionViolation' {
    return 'SessionViolation'
  }
}
