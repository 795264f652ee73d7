import { expect, test } from 'vitest'
import { run } from '../src/cli.ts'
import { doctor, renderReport } from '../src/doctor.ts'

test('examines this machine', async () => {
  const report = await doctor()
  // What the demo needs is here, or its end-to-end test could not pass either.
  expect(report.checks.filter(({ status }) => status === 'fail')).toEqual([])
  expect(report.ok).toBe(true)
  expect(report.checks.map(({ name }) => name)).toEqual([
    'kernel',
    'dirty pages',
    'ptrace',
    'QEMU',
    'guest image',
    'KVM',
    'memory',
    '/dev/shm',
    'TMPDIR',
    'user',
    'page size',
    'clock',
  ])
  expect(renderReport(report)).toHaveLength(report.checks.length + 1)
})

test('without any program: says what is missing and what to do', async () => {
  const path = process.env['PATH']
  process.env['PATH'] = '/nowhere'
  try {
    const report = await doctor()
    const qemu = report.checks.find(({ name }) => name === 'QEMU')
    expect(qemu).toMatchObject({ status: 'fail' })
    expect(qemu?.fix).toMatch(/^sudo apt-get install qemu-system-/)
    const line = renderReport(report).find((text) => /^fail +QEMU /.test(text))
    expect(line?.match(/apt-get/g)).toHaveLength(1)
    expect(line).toMatch(/qemu-system-\w+ is not installed {2}-> sudo/)
    expect(report.checks.find(({ name }) => name === 'KVM')?.detail).toMatch(/^not tried/)
    expect(report.ok).toBe(false)
  } finally {
    process.env['PATH'] = path
  }
})

test('a temporary folder that serves no demo: doctor and demo say the same', async () => {
  const before = process.env['TMPDIR']
  process.env['TMPDIR'] = '/nowhere/at-all'
  try {
    const problem = 'the temporary folder /nowhere/at-all does not exist'
    const fix = 'mkdir -p /nowhere/at-all, or set TMPDIR'
    const { ok, checks } = await doctor()
    expect(ok).toBe(false)
    expect(checks.find(({ name }) => name === 'TMPDIR')).toEqual({
      name: 'TMPDIR',
      status: 'fail',
      detail: problem,
      fix,
    })
    let complaint = ''
    const stderr = { write: (text: string) => (complaint += text) }
    expect(await run(['demo'], { stdout: { write: () => expect.unreachable() }, stderr })).toBe(3)
    expect(complaint).toBe(`mycelium: ${problem}. To do: ${fix}\n`)
  } finally {
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
  }
})

test('an abort gives its reason', async () => {
  const reason = new Error('enough')
  await expect(doctor({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
})

test('the command prints the report, as lines or as JSON', async () => {
  for (const args of [['doctor'], ['-o', 'json', 'doctor']]) {
    let output = ''
    const stdout = { write: (text: string) => (output += text) }
    expect(await run(args, { stdout, stderr: { write: () => {} } })).toBe(0)
    if (args.length === 1) expect(output).toMatch(/^ok {4}kernel {7}Linux /)
    else
      expect(JSON.parse(output)).toMatchObject({
        schema: 'mycelium.doctor/1',
        ok: true,
        checks: { length: 12 },
      })
  }
})
