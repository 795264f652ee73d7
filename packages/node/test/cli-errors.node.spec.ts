import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { EXIT_CONFLICT, EXIT_FAILED, EXIT_NOT_READY, EXIT_USAGE } from '../src/constants.ts'
import { Nodes, OFFLINE, table, usage } from './cli-errors-kit.ts'
import { must, mycelium } from './commands-kit.ts'

const nodes = new Nodes()
const at = (name: string): string[] => nodes.at(name)

beforeAll(async () => {
  await nodes.begin()
})

afterAll(async () => {
  await nodes[Symbol.asyncDispose]()
})

describe('the command line', () => {
  nodes.run(
    usage(
      ['nothing', () => [], 'a command is missing; mycelium --help lists them'],
      ['a group alone', () => ['token'], 'a command is missing; mycelium --help lists them'],
      ['an unknown command', () => ['frog'], /^unknown command 'frog'/],
      ['an unknown command of a group', () => ['token', 'frog'], "unknown command 'frog'"],
      ['an unknown option', () => ['up', '--frog'], "unknown option '--frog'"],
      ['an argument too many', () => ['nodes', 'x'], /^too many arguments for 'nodes'/],
      ['no name', () => ['init', ...at('new')], "required option '--name <name>' not specified"],
      ['no node', () => ['revoke', ...at('up')], "missing required argument 'node'"],
      ['no shell', () => ['completion'], "missing required argument 'shell'"],
      ['an unknown shell', () => ['completion', 'frog'], /'frog' is invalid.* bash, zsh, fish/],
      ['install alone', () => ['install'], 'install needs --systemd: there is no other way'],
      ['a bad --ttl', () => ['token', 'create', '--ttl', '5x'], /'5x' is invalid.* as 30s, 5m/],
      ['too long a --ttl', () => ['token', 'create', '--ttl', '31d'], /at most 30 days/],
      ['a bad --timeout', () => ['status', '--timeout', 'x'], /whole number from 1 to 86400/],
      ['no last entry', () => ['audit', 'show', '--last', '0'], /whole number from 1 to 10000/],
      ['an unknown level', () => ['log', '--level', 'loud'], /choices are trace, debug, info/],
      ['an unknown key', () => ['identity', 'rotate', '--what', 'x'], /choices are certificate, /],
      ['an unknown type', () => ['init', '--name', 'x', '--type', 'frog'], /sclerotium-dedicated/],
      [
        'a socket path that is too long',
        () => ['status', ...at('x'.repeat(120))],
        /^the socket .* has a path of \d+ bytes, at most 107 .*: choose a shorter --data-dir$/,
      ],
      [
        'a token with an address that is none',
        () => ['token', 'create', ...at('down'), '--address', 'frog'],
        '--address: frog is no multiaddr, as /ip4/192.0.2.1/tcp/7752',
      ],
    ),
  )
})

describe('init', () => {
  nodes.run([
    ...usage(
      ['an empty name', () => ['init', '--name', '', ...at('new')], /must have 1 to 64 characters/],
      [
        'a name that is too long',
        () => ['init', '--name', 'x'.repeat(65), ...at('new')],
        'name: must have 1 to 64 characters',
      ],
      [
        'a threshold that nobody could reach',
        () => ['init', '--name', 'x', '--authority-threshold', '2', ...at('new')],
        /^--authority-threshold 2 needs as many founders, and init has one/,
      ],
    ),
    ...table(EXIT_CONFLICT, 'ERR_IDENTITY_MEMBER_ALREADY', [
      [
        'twice',
        () => ['init', '--name', 'x', ...at('down')],
        /^this node is a member of Qm\w+ already: leave it first$/,
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_NODE_ALREADY_RUNNING', [
      [
        'while the node runs',
        () => ['init', '--name', 'x', ...at('up')],
        /^a node runs already: it answers on .*mycelium\.sock$/,
      ],
    ]),
  ])
})

describe('join', () => {
  const join = (name: string, text: string): string[] => [
    'join',
    ...at(name),
    ...nodes.tokenFrom(text),
  ]
  nodes.run([
    ...usage(
      [
        'with the token as an argument',
        async () => ['join', ...at('new'), await nodes.token('up')],
        /^a token must not be an argument, which everybody .* give --token-file FILE/,
      ],
      [
        'with the token in place of the file',
        async () => ['join', ...at('new'), '--token-file', await nodes.token('up')],
        /^the token cannot be read: .* open '\[token\]'$/,
      ],
      [
        'with the token as an unknown option',
        async () => ['join', ...at('new'), `--token=${await nodes.token('up')}`],
        "unknown option '--token=[token]'",
      ],
      [
        'a token where a command belongs',
        async () => [await nodes.token('up')],
        "unknown command '[token]'",
      ],
      ['without a token', () => ['join', ...at('new')], /^the token is missing: give --token-file/],
      [
        'a file that is not there',
        () => ['join', ...at('new'), '--token-file', nodes.path('nowhere')],
        /^the token cannot be read: ENOENT.*nowhere'$/,
      ],
      ['a folder', () => ['join', ...at('new'), '--token-file', '/'], /cannot be read: EISDIR/],
      ['an empty file', () => join('new', ' \n'), 'the token is empty'],
      ['a long file', () => join('new', 'x'.repeat(9_000)), 'the token is longer than 8192 bytes'],
    ),
    ...table(EXIT_USAGE, 'ERR_IDENTITY_TOKEN', [
      [
        'something else',
        () => join('new', 'frog'),
        'the token does not begin with myc1_: it is something else, or cut',
      ],
      [
        'a part of a token',
        async () => join('new', (await nodes.token('up')).slice(0, -6)),
        'the token is truncated or damaged: copy all of it',
      ],
    ]),
    ...table(EXIT_FAILED, 'ERR_IDENTITY_TOKEN_EXPIRED', [
      [
        'an expired token',
        async () => {
          const text = await nodes.token('up', '--ttl', '1s')
          // Its issuer says when its time has passed.
          await vi.waitUntil(
            async () => (await must('token', 'list', ...at('up'))).includes('expired'),
            { timeout: 30_000, interval: 100 },
          )
          return join('new', text)
        },
        'the token has expired: ask for a new one',
      ],
    ]),
    ...table(EXIT_FAILED, 'ERR_IDENTITY_JOIN', [
      [
        'a used token',
        async () => {
          const text = await nodes.token('up')
          await must(...join('user', text))
          return join('new', text)
        },
        'could not join: the token was used by another node before',
      ],
      [
        'a revoked token',
        async () => {
          const text = await nodes.token('up')
          const list = await must('token', 'list', ...at('up'), '-o', 'json')
          const { tokens: all } = JSON.parse(list) as { tokens: { tokenId: string }[] }
          for (const { tokenId } of all) await must('token', 'revoke', tokenId, ...at('up'))
          return join('new', text)
        },
        'could not join: the token was revoked',
      ],
    ]),
    ...table(EXIT_NOT_READY, 'ERR_IDENTITY_JOIN', [
      [
        'nobody answers',
        async () => join('new', await nodes.token('down', ...OFFLINE)),
        'could not join: none of its addresses answers',
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_IDENTITY_TOKEN_FOREIGN', [
      [
        'as a member of another network',
        async () => join('other', await nodes.token('up')),
        /^the token is of Qm\w+, this node is a member of Qm\w+: leave it first$/,
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_IDENTITY_MEMBER_ALREADY', [
      [
        'with a token of its own',
        async () => join('down', await nodes.token('down', ...OFFLINE)),
        /^this node is a member of Qm\w+ already: leave it first$/,
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_NODE_ALREADY_RUNNING', [
      ['while the node runs', () => join('up', 'x'), /^a node runs already: it answers on /],
    ]),
  ])
})

describe('up', () => {
  const up = (...flags: string[]): string[] => ['up', ...at('down'), ...flags]
  const free = ['--listen', '/ip4/127.0.0.1/tcp/0']
  nodes.run([
    ...table(EXIT_NOT_READY, 'ERR_NODE_NOT_READY', [
      [
        'without a network',
        () => ['up', ...at('new')],
        'this node is a member of no network. To do: mycelium init --name NAME to create one, ' +
          'or mycelium join --token-file FILE',
      ],
    ]),
    ...table(EXIT_CONFLICT, 'ERR_NODE_ALREADY_RUNNING', [
      ['twice', () => ['up', ...at('up')], /^a node runs already: it answers on .*\.sock$/],
    ]),
    ...usage(
      ['no address', () => up('--listen', 'frog'), /^--listen: frog is no multiaddr, as \/ip4\//],
      ['no port', () => up('--listen', '/ip4/127.0.0.1/tcp/99999'), /^--listen: .*is no multiaddr/],
      ['nothing to announce', () => up('--announce', 'frog'), /^--announce: frog is no multiaddr/],
      [
        'a peer without an id',
        () => up('--peer', '/ip4/127.0.0.1/tcp/1'),
        '--peer: /ip4/127.0.0.1/tcp/1 does not end with /p2p/<id of the member>',
      ],
    ),
    ...table(EXIT_CONFLICT, 'ERR_FABRIC_LISTEN', [
      [
        'an address in use',
        () => up('--listen', `/ip4/127.0.0.1/tcp/${nodes.portInUse}`),
        /^cannot listen on \/ip4\/\S+: listen EADDRINUSE: address already in use 127.0.0.1:\d+$/,
      ],
    ]),
    ...table(EXIT_NOT_READY, 'ERR_FABRIC_LISTEN', [
      [
        'an address of another machine',
        () => up('--listen', '/ip4/203.0.113.7/tcp/0'),
        'cannot listen on /ip4/203.0.113.7/tcp/0: ' +
          'listen EADDRNOTAVAIL: address not available 203.0.113.7',
      ],
      [
        'a protocol that is not spoken',
        () => up('--listen', '/ip4/127.0.0.1/udp/0'),
        /^cannot listen on \/ip4\/127.0.0.1\/udp\/0: No transport was configured to listen/,
      ],
    ]),
  ])

  it('a port for metrics that is in use', async () => {
    process.env['MYCELIUM_METRICS_PORT'] = String(nodes.portInUse)
    try {
      const message = `listen EADDRINUSE: address already in use 127.0.0.1:${nodes.portInUse}`
      const args = () => up(...free)
      await nodes.check({ args, exitCode: EXIT_CONFLICT, code: 'EADDRINUSE', message })
    } finally {
      delete process.env['MYCELIUM_METRICS_PORT']
    }
    // Nothing of it stays.
    expect((await mycelium('status', ...at('down'))).stderr).toMatch(/no node runs here/)
  })
})
