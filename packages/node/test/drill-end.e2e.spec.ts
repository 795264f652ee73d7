import { describe, expect, it } from 'vitest'
import { endCommand, NOTHING_LEFT, type Seen, ways } from './ended-command.ts'
import { commandLineOf } from './process-family.ts'

const ARGS = ['run', '--silent', 'mycelium', '--', 'drill', 'network']

/** The first has founded the network, the others have joined. */
const hasFormed = ({ family, output }: Seen): boolean =>
  output.includes('joined by token') &&
  family.filter((member) => commandLineOf(member).includes('up')).length >= 5

describe('npm run mycelium -- drill network leaves nothing behind after', () => {
  it.each(Object.entries(ways))('%s', async (_, way) => {
    expect(await endCommand(way, ARGS, hasFormed)).toEqual(NOTHING_LEFT)
  })

  it('SIGKILL to the drill itself, but for its folder, which the next one removes', async () => {
    let drill: number | undefined
    const isUnderWay = (seen: Seen): boolean => {
      drill = seen.family.find((member) => {
        const [, file = '', command] = commandLineOf(member)
        return file.endsWith('bin.js') && command === 'drill'
      })?.pid
      return drill !== undefined && hasFormed(seen)
    }
    const end = (): void => {
      if (drill !== undefined) process.kill(drill, 'SIGKILL')
    }
    const { files, ...left } = await endCommand({ isInTerminal: false, end }, ARGS, isUnderWay)
    expect({ ...left, files: [] }).toEqual(NOTHING_LEFT)
    expect(files).toEqual([expect.stringMatching(/^mycelium-demo-/)])
  })
})
