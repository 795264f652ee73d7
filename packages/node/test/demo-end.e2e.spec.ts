import { describe, expect, it } from 'vitest'
import { endCommand, NOTHING_LEFT, type Seen, ways } from './ended-command.ts'

/** The line that is redrawn on a terminal, once at least. */
const REDRAWN = /\x1b\[2K[^\n]*epoch/

/** The guest runs and is replicated; on a terminal somebody has seen it. */
function isReplicated({ family, output }: Seen, isInTerminal: boolean): boolean {
  const guests = family.filter(({ name }) => name.startsWith('qemu')).length
  return (
    guests >= 2 && /^(?:\x1b\[2K)?protected:/m.test(output) && REDRAWN.test(output) === isInTerminal
  )
}

describe('npm run demo leaves nothing behind after', () => {
  it.each(Object.entries(ways))('%s', async (_, way) => {
    const args = ['run', '--silent', 'demo', '--', '--seconds', '600']
    const isUnderWay = (seen: Seen): boolean => isReplicated(seen, way.isInTerminal)
    expect(await endCommand(way, args, isUnderWay)).toEqual(NOTHING_LEFT)
  })
})
