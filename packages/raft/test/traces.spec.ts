import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { RaftScript, runTranscript } from '../src/testing.ts'

const folder = join(import.meta.dirname, 'traces')
/** `UPDATE_TRACES=1` writes them anew: to be read before they are committed. */
const mayUpdate = process.env['UPDATE_TRACES'] === '1'

const files = readdirSync(folder).sort()

describe('transcripts', () => {
  it.each(files)('%s', (file) => {
    const path = join(folder, file)
    const transcript = readFileSync(path, 'utf8')
    const now = runTranscript(transcript)
    if (mayUpdate) writeFileSync(path, now)
    else expect(now).toBe(transcript)
  })

  it('together they use every command', () => {
    const all = files.map((file) => readFileSync(join(folder, file), 'utf8')).join('')
    const used = new Set([...all.matchAll(/^> (\S+)/gm)].map(([, name]) => name))
    expect([...used].sort()).toEqual(new RaftScript().commands)
  })

  it('what is no command is refused', () => {
    const script = new RaftScript()
    expect(() => script.run('jump a')).toThrow(RangeError)
    expect(() => script.run('tick q')).toThrow('id must name a node, got q')
    script.run('start a')
    expect(() => script.run('change a b')).toThrow('change must begin with +, = or -, got b')
  })
})
