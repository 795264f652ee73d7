import { expect, test } from 'vitest'
import { prepareGuestImage } from '../src/guest/image.ts'
import { probeTiers } from '../src/probe-tiers.ts'
import { probeQemu } from '../src/qemu/probe.ts'

const TIERS = ['async', 'sync', 'hash', 'shadow']

test('a tier that works on a QEMU for guests, and one that does not, with its reason', async () => {
  const { works, rejected } = await probeTiers({
    guests: { qemu: await probeQemu(), guest: await prepareGuestImage() },
  })
  // Comparing needs nothing of the kernel.
  expect(works.slice(-2)).toEqual(['hash', 'shadow'])
  expect([...works, ...rejected.map(({ tier }) => tier)].toSorted()).toEqual(TIERS.toSorted())
  for (const { reason } of rejected) expect(reason).toMatch(/^(?!.*process \d).+/)
})

test('without a QEMU: on the memory of this process', async () => {
  const { works, rejected } = await probeTiers()
  expect(works.slice(-2)).toEqual(['hash', 'shadow'])
  expect(works).toHaveLength(TIERS.length - rejected.length)
})

test('an abort gives its reason', async () => {
  const reason = new Error('enough')
  await expect(probeTiers({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
})
