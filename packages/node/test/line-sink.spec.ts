import { expect, it } from 'vitest'
import { createLineSink, WAITING_LOG_BYTES_MAX } from '../src/line-sink.ts'

it('drops what a slow reader does not take, and says how much', () => {
  const written: string[] = []
  const stream = { writableLength: 0, write: (text: string) => written.push(text) }
  const sink = createLineSink(stream, (count) => {
    sink(`${count} dropped`)
  })
  sink('one')
  stream.writableLength = WAITING_LOG_BYTES_MAX
  sink('two, at the bound')
  stream.writableLength++
  sink('lost')
  sink('lost')
  stream.writableLength = 0
  sink('three')
  sink('four')
  expect(written).toEqual(['one\n', 'two, at the bound\n', '2 dropped\n', 'three\n', 'four\n'])
})
