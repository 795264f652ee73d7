import { describe, expect, it } from 'vitest'
import { environmentSources, resolveConfig } from '../src/config.ts'

describe('configuration', () => {
  it('is complete without any source', () => {
    const { config, sources } = resolveConfig([])
    expect(config).toMatchObject({ logLevel: 'info', mdns: false, peers: [] })
    expect(new Set(Object.values(sources))).toEqual(new Set(['default']))
  })

  it('takes the last source of each key, and tells which', () => {
    const { config, sources } = resolveConfig([
      { name: '/etc/mycelium/config.yaml', values: { logLevel: 'warn', mdns: true } },
      { name: '/etc/mycelium/config.d/1.yaml', values: null },
      ...environmentSources({ MYCELIUM_LOG_LEVEL: 'debug', MYCELIUM_METRICS_PORT: '9100' }),
      { name: '--listen', values: { listen: ['/ip4/127.0.0.1/tcp/0'], announce: undefined } },
    ])
    expect(config).toMatchObject({
      logLevel: 'debug',
      mdns: true,
      metricsPort: 9100,
      listen: ['/ip4/127.0.0.1/tcp/0'],
    })
    expect(sources).toMatchObject({
      logLevel: 'MYCELIUM_LOG_LEVEL',
      mdns: '/etc/mycelium/config.yaml',
      metricsPort: 'MYCELIUM_METRICS_PORT',
      listen: '--listen',
      announce: 'default',
    })
  })

  it('reads lists, switches and numbers of the environment', () => {
    const sources = environmentSources({
      MYCELIUM_LISTEN: '/ip4/0.0.0.0/tcp/1, /ip6/::/tcp/1',
      MYCELIUM_PEERS: '',
      MYCELIUM_MDNS: 'true',
      MYCELIUM_AUDIT_MEBIBYTES: '7',
    })
    expect(resolveConfig(sources).config).toMatchObject({
      listen: ['/ip4/0.0.0.0/tcp/1', '/ip6/::/tcp/1'],
      peers: [],
      mdns: true,
      auditMebibytes: 7,
    })
  })

  it.each([
    [{ lsiten: [] }, /^a\.yaml: lsiten: no such key; there are listen, /],
    [{ metricsPort: 65_536 }, /^a\.yaml: metricsPort: /],
    [{ listen: 'everywhere' }, /^a\.yaml: listen: /],
    [{ logLevel: 'loud' }, /^a\.yaml: logLevel: /],
    [['listen'], /^a\.yaml: must be a mapping/],
    ['text', /^a\.yaml: must be a mapping/],
  ])('refuses %j and names source and key', (values, message) => {
    expect(() => resolveConfig([{ name: 'a.yaml', values }])).toThrow(
      expect.objectContaining({
        code: 'ERR_NODE_USAGE',
        message: expect.stringMatching(message) as string,
      }),
    )
  })

  it.each([
    ['MYCELIUM_METRICS_PORT', '-1'],
    ['MYCELIUM_MDNS', 'yes'],
    ['MYCELIUM_AUDIT_MEBIBYTES', '1e3'],
  ])('refuses %s=%s', (name, text) => {
    expect(() => resolveConfig(environmentSources({ [name]: text }))).toThrow(`${name}: `)
  })
})
