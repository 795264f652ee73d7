import { expect, it } from 'vitest'
import { renderDuration, renderTable } from '../src/table.ts'

it('aligns columns, and leaves the last one as long as it is', () => {
  const rows = [
    ['a', '1', 'well'],
    ['länger 🍄', '', ''],
  ]
  expect(renderTable(['NODE', 'RTT', 'MESSAGE'], rows)).toEqual([
    'NODE      RTT  MESSAGE',
    'a         1    well',
    'länger 🍄',
  ])
})

it.each([
  [0, '0 s'],
  [119_000, '119 s'],
  [120_000, '2 min'],
  [7_200_000, '2 h'],
  [604_800_000, '7 d'],
])('says %d ms as %s', (ms, text) => {
  expect(renderDuration(ms)).toBe(text)
})
