import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { type CommandTree, renderCompletion } from '../../src/core/completion.ts'

const leaf = (name: string, ...options: string[]): CommandTree => ({
  name,
  summary: `It's ${name}`,
  options,
  commands: [],
})
const tree: CommandTree = {
  ...leaf('mycelium', '--output'),
  commands: [
    leaf('status', '--wait'),
    { ...leaf('token'), commands: [leaf('create', '--ttl'), leaf('list')] },
  ],
}

function completionsOf(line: string): string[] {
  const words = line.split(' ')
  const script = `${renderCompletion('bash', tree, ['mycelium', 'myc'])}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length - 1}
_mycelium
printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr, status } = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
  return stdout.split('\n').filter((word) => word !== '')
}

describe('completion in bash', () => {
  it.each([
    ['mycelium ', ['status', 'token', '--output']],
    ['mycelium st', ['status']],
    ['myc token ', ['create', 'list', '--output']],
    ['mycelium --output token create --', ['--output', '--ttl']],
    ['mycelium nothing ', []],
  ])('%j', (line, words) => {
    expect(completionsOf(line)).toEqual(words)
  })
})

it('has a line for each word in fish', () => {
  const lines = renderCompletion('fish', tree, ['mycelium']).trimEnd().split('\n')
  expect(lines).toContain(
    "complete -c mycelium -n __fish_use_subcommand -f -a status -d 'It\\'s status'",
  )
  expect(lines).toContain("complete -c mycelium -n '__fish_seen_subcommand_from token' -l ttl")
})
