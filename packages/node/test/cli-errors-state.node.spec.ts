import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  EXIT_CONFLICT,
  EXIT_FAILED,
  EXIT_NOT_READY,
  EXIT_OK,
  EXIT_USAGE,
} from '../src/constants.ts'
import { damaged, Nodes, OFFLINE, STRANGER, table, usage } from './cli-errors-kit.ts'
import { must, mycelium } from './commands-kit.ts'

const nodes = new Nodes()
const at = (name: string): string[] => nodes.at(name)

beforeAll(async () => {
  await nodes.begin()
})

afterAll(async () => {
  await nodes[Symbol.asyncDispose]()
})

describe('a node that does not run, or may not', () => {
  const noDaemon = /^no node runs here: nobody answers on .*mycelium\.sock\. To do: mycelium up$/
  const noMember = 'this node is a member of no network: create one, or join one with a token'
  nodes.run([
    ...table(EXIT_NOT_READY, 'ERR_NODE_NOT_RUNNING', [
      ['status', () => ['status', ...at('down')], noDaemon],
      ['status that waits', () => ['status', '--wait', '--timeout', '1', ...at('new')], noDaemon],
      ['nodes', () => ['nodes', ...at('down')], noDaemon],
      ['revoke', () => ['revoke', STRANGER, ...at('down')], noDaemon],
      ['log', () => ['log', ...at('down')], noDaemon],
    ]),
    ...table(EXIT_NOT_READY, 'ERR_IDENTITY_NOT_MEMBER', [
      ['token create', () => ['token', 'create', ...at('new'), ...OFFLINE], noMember],
      ['leave', () => ['leave', ...at('new')], noMember],
      ['backup', () => ['identity', 'backup', ...at('new'), ...nodes.passphrase(), '/x'], noMember],
    ]),
    ...usage(
      [
        'a token without an address',
        () => ['token', 'create', ...at('down')],
        /^nobody could find this node by the token: start it \(mycelium up\), or give --address$/,
      ],
      ['revoke of no id', () => ['revoke', 'frog', ...at('up')], 'revoke: node: is no node id'],
      [
        'token revoke of no id',
        () => ['token', 'revoke', 'frog', ...at('up')],
        'token.revoke: tokenId: must be 32 hexadecimal digits',
      ],
      [
        'token revoke of an unknown id',
        () => ['token', 'revoke', 'ab'.repeat(16), ...at('down')],
        `there is no token ${'ab'.repeat(16)} here`,
      ],
    ),
    ...table(EXIT_FAILED, 'ERR_IDENTITY_NOT_AUTHORITY', [
      [
        'token create of no authority',
        () => ['token', 'create', ...at('hypha')],
        'this node is no authority of its network',
      ],
      [
        'revoke of no authority',
        () => ['revoke', STRANGER, ...at('hypha')],
        'this node is no authority of its network',
      ],
    ]),
  ])

  it('revoke of a node that is not known says so', async () => {
    const { exitCode, stdout } = await mycelium('revoke', STRANGER, ...at('up'))
    expect(stdout).toMatch(/no such member was known here: look at its id again$/m)
    expect(exitCode).toBe(EXIT_OK)
  })

  it('revoke of a member', async () => {
    const node = await nodes.idOf('hypha')
    expect(await must('revoke', node, ...at('up'))).toBe(`${node} is a member no more\n`)
  })
})

describe('backup and restore', () => {
  const backup = (...args: string[]): string[] => ['identity', 'backup', ...at('down'), ...args]
  const restore = (name: string, ...args: string[]): string[] => {
    return ['identity', 'restore', ...at(name), ...args]
  }
  const file = (): string => nodes.path('backup')

  beforeAll(async () => {
    await must(...backup(file(), ...nodes.passphrase()))
  })

  nodes.run([
    ...usage(
      [
        'without a passphrase',
        () => backup(nodes.path('b')),
        /^the passphrase is missing: give --p/,
      ],
      [
        'a passphrase that is too short',
        () => backup(nodes.path('b'), ...nodes.passphrase('short')),
        'passphrase: must have 8 characters or more',
      ],
      [
        'no folder to write into',
        () => backup('/dev/null/backup', ...nodes.passphrase()),
        /^E\w+: .*\/dev\/null/,
      ],
      [
        'no backup to restore',
        () => restore('new', nodes.path('nowhere'), ...nodes.passphrase()),
        /^the backup cannot be read: ENOENT.*nowhere'$/,
      ],
    ),
    ...table(EXIT_CONFLICT, 'ERR_NODE_EXISTS', [
      [
        'over another file',
        () => backup(file(), ...nodes.passphrase()),
        /backup exists already: choose another name, or remove it$/,
      ],
      [
        'a support bundle over another file',
        () => ['support-bundle', file(), ...at('down')],
        /backup exists already: choose another name, or remove it$/,
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_IDENTITY_BACKUP_NOT_EMPTY', [
      [
        'over a member',
        () => restore('other', file(), ...nodes.passphrase()),
        'this node is a member of a network already: leave it first',
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_NODE_ALREADY_RUNNING', [
      [
        'while the node runs',
        () => restore('up', file(), ...nodes.passphrase()),
        /^a node runs already: it answers on /,
      ],
    ]),
    ...table(EXIT_USAGE, 'ERR_IDENTITY_PASSPHRASE_WRONG', [
      [
        'another passphrase',
        () => restore('new', file(), ...nodes.passphrase('another one')),
        'wrong passphrase, or somebody changed the file',
      ],
    ]),
    ...table(EXIT_USAGE, 'ERR_IDENTITY_BACKUP_FOREIGN', [
      [
        'something else',
        () => restore('new', nodes.put('frog', 'frog'), ...nodes.passphrase()),
        'this is no backup of an identity that can be read: it does not begin as one',
      ],
      [
        'a part of a backup',
        () => {
          const part = readFileSync(file()).subarray(0, 50)
          return restore('new', nodes.put('part', part), ...nodes.passphrase())
        },
        /^this is no backup of an identity that can be read: /,
      ],
    ]),
  ])
})

describe('the data folder', () => {
  const show = (name = 'damaged'): string[] => ['identity', 'show', ...at(name)]
  nodes.run([
    ...table(EXIT_NOT_READY, 'ERR_IDENTITY_UNSAFE_PATH', [
      [
        'is a file',
        () => ['init', '--name', 'x', '--data-dir', nodes.put('file', '')],
        /file\/identity is not safe to use: it is not a folder$/,
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_IDENTITY_LOCKED', [
      [
        'is used by somebody whose socket is gone',
        () => {
          rmSync(nodes.path('up/mycelium.sock'))
          return show('up')
        },
        /up\/identity is in use by another process$/,
      ],
    ]),
  ])

  it('cannot be written', async () => {
    // Nobody makes folders there, root neither.
    const { exitCode, stderr } = await mycelium('init', '--name', 'x', '--data-dir', '/sys/x')
    expect(stderr).toMatch(/^mycelium: E(?:ACCES|PERM|ROFS): .*, mkdir '\/sys\/x.*\n$/)
    expect(exitCode).toBe(EXIT_NOT_READY)
  })

  it('lets others in: each file of the identity', async () => {
    const folder = nodes.path('damaged/identity')
    for (const name of ['node-key', 'certificate', 'genesis', 'isolation-keys', 'facts.log']) {
      chmodSync(`${folder}/${name}`, 0o640)
      const end = `${name} is not safe to use: mode 0640 lets others in`
      await nodes.check({
        args: show,
        exitCode: EXIT_NOT_READY,
        code: 'ERR_IDENTITY_UNSAFE_PATH',
        message: new RegExp(`${end} \\(chmod go= .*${name}\\)$`),
      })
      chmodSync(`${folder}/${name}`, 0o600)
    }
  })

  it('has a damaged file', async () => {
    const folder = nodes.path('damaged/identity')
    for (const name of ['node-key', 'certificate', 'genesis', 'isolation-keys', 'facts.log']) {
      writeFileSync(`${folder}/${name}`, damaged(`${folder}/${name}`))
      await nodes.check({
        args: show,
        exitCode: EXIT_FAILED,
        code: 'ERR_IDENTITY_DAMAGED',
        message: new RegExp(`${name} is damaged at byte \\d+: `),
      })
      writeFileSync(`${folder}/${name}`, damaged(`${folder}/${name}`))
    }
    await must(...show())
  })

  it('has an audit log that somebody changed', async () => {
    const verify = ['audit', 'verify', ...at('damaged')]
    expect(await must(...verify)).toMatch(/^nothing was cut out/)
    const folder = nodes.path('damaged/audit')
    const [name = ''] = readdirSync(folder).filter((one) => one.endsWith('.log'))
    writeFileSync(`${folder}/${name}`, damaged(`${folder}/${name}`))
    const { exitCode, stdout, stderr } = await mycelium(...verify)
    expect(exitCode).toBe(EXIT_FAILED)
    expect(`${stdout}${stderr}`).toMatch(/^(mycelium: )?.*audit-\d+\.log.*\n$/)
  })
})

describe('a node whose keys are encrypted', () => {
  const show = (): string[] => ['identity', 'show', ...at('sealed')]

  beforeAll(async () => {
    process.env['MYCELIUM_KEY_PASSPHRASE_FILE'] = nodes.put('key', 'long enough')
    await must('init', '--name', 'sealed', ...at('sealed'))
    await must(...show())
  })

  afterAll(() => {
    delete process.env['MYCELIUM_KEY_PASSPHRASE_FILE']
  })

  nodes.run([
    ...table(EXIT_USAGE, 'ERR_IDENTITY_PASSPHRASE_WRONG', [
      [
        'another passphrase',
        () => {
          nodes.put('key', 'another one')
          return show()
        },
        'wrong passphrase, or somebody changed the file',
      ],
    ]),
    ...usage([
      'no file with the passphrase',
      () => {
        rmSync(nodes.path('key'))
        return show()
      },
      /^the passphrase .*ENOENT.*key'$/,
    ]),
    ...table(EXIT_USAGE, 'ERR_IDENTITY_PASSPHRASE_MISSING', [
      [
        'no passphrase',
        () => {
          process.env['MYCELIUM_KEY_PASSPHRASE_FILE'] = ''
          return show()
        },
        'the key file is encrypted: its passphrase is needed',
      ],
    ]),
  ])
})

describe('the configuration', () => {
  const file = /^\/.*\/etc\/config\.yaml: /.source
  it.each([
    ['an unknown key', 'frog: 1', 'frog: no such key; there are listen, announce, .*'],
    ['no list', 'listen: 5', 'listen: must be a list of texts'],
    ['bad YAML', 'a: [', '.* at line 1, column 5'],
    ['no mapping', '- a', 'must be a mapping of keys to values'],
    ['an unknown level', 'logLevel: loud', 'logLevel: must be one of trace, debug, .*'],
    ['no port', 'metricsPort: 70000', 'metricsPort: must be a whole number from 0 to 65535'],
    ['no address', 'listen: [frog]', 'listen: frog is no multiaddr, .*'],
    ['no yes or no', 'mdns: maybe', 'mdns: must be true or false'],
    ['an alias', 'x: &a 1\ny: *a', 'Alias resolution is disabled'],
  ])('%s', async (_name, text, message) => {
    nodes.put('etc/config.yaml', text)
    try {
      const expected = { exitCode: EXIT_USAGE, code: 'ERR_NODE_USAGE' }
      const about = { ...expected, message: new RegExp(`${file}${message}$`) }
      await nodes.check({ args: () => ['config', 'validate'], ...about })
      await nodes.check({ args: () => ['up', ...at('down')], ...about })
    } finally {
      rmSync(nodes.path('etc'), { recursive: true })
    }
  })

  it('a variable', async () => {
    process.env['MYCELIUM_LOG_LEVEL'] = 'loud'
    try {
      await nodes.check({
        args: () => ['config', 'validate'],
        exitCode: EXIT_USAGE,
        code: 'ERR_NODE_USAGE',
        message: /^MYCELIUM_LOG_LEVEL: logLevel: must be one of trace, /,
      })
    } finally {
      delete process.env['MYCELIUM_LOG_LEVEL']
    }
  })
})
