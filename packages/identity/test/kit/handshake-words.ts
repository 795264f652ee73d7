/** What tests of handshakes say about them. */
import { decodeMessage, encodeMessage } from '../../src/core/messages.ts'
import type { HandshakeMessage } from '../../src/core/messages.ts'
import type { Outcome, PairInit } from './handshake-pair.ts'

export const kindsOf = (frames: readonly { frame: Uint8Array }[]): readonly string[] =>
  frames.map(({ frame }) => decodeMessage(frame)?.kind ?? 'unreadable')

export const refusal = (outcome: Outcome): string =>
  outcome !== undefined && 'refused' in outcome
    ? `${outcome.isByPeer ? 'by peer' : 'by self'}: ${outcome.refused}`
    : 'not refused'

/** Changes one message on its way. */
export function change<Kind extends HandshakeMessage['kind']>(
  kind: Kind,
  edit: (message: Extract<HandshakeMessage, { kind: Kind }>) => HandshakeMessage,
): NonNullable<PairInit['tamper']> {
  return (frame) => {
    const message = decodeMessage(frame)
    if (message?.kind !== kind) return [frame]
    return [encodeMessage(edit(message as Extract<HandshakeMessage, { kind: Kind }>))]
  }
}
