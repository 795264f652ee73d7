import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { renderMetrics } from '../../src/core/metrics.ts'

describe('metrics', () => {
  it('are text of OpenMetrics', () => {
    const text = renderMetrics([
      { name: 'mycelium_members', type: 'gauge', help: 'Members seen', values: [{ value: 5 }] },
      {
        name: 'mycelium_refusals',
        type: 'counter',
        help: 'Handshakes refused',
        values: [
          { value: 2, labels: { reason: 'wrong-network' } },
          { value: Number.POSITIVE_INFINITY, labels: { reason: 'a "b" \\ \n' } },
        ],
      },
    ])
    expect(text).toBe(
      [
        '# TYPE mycelium_members gauge',
        '# HELP mycelium_members Members seen',
        'mycelium_members 5',
        '# TYPE mycelium_refusals counter',
        '# HELP mycelium_refusals Handshakes refused',
        'mycelium_refusals_total{reason="wrong-network"} 2',
        'mycelium_refusals_total{reason="a \\"b\\" \\\\ \\n"} +Inf',
        '# EOF',
        '',
      ].join('\n'),
    )
  })

  it('keep one sample on one line, whatever a label holds', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.double(), (label, value) => {
        const values = [{ value, labels: { label } }]
        const text = renderMetrics([{ name: 'm', type: 'gauge', help: label, values }])
        const lines = text.split('\n')
        expect(lines).toHaveLength(5)
        const shown = /^m\{label="(.*)"\} \S+$/s.exec(lines[2] ?? '')
        const unescaped = shown?.[1]?.replaceAll(/\\(.)/gs, (_, one: string) => {
          return one === 'n' ? '\n' : one
        })
        expect(unescaped).toBe(label)
      }),
    )
  })

  it.each([['1m'], ['m-n'], ['']])('refuse the name %j', (name) => {
    expect(() => renderMetrics([{ name, type: 'gauge', help: '', values: [] }])).toThrow(RangeError)
  })
})
