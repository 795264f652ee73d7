import { EXIT_NOT_READY, EXIT_OK } from '../constants.ts'
import type { AddCommand, CommandContext } from '../context.ts'

/** Adds `mycelium doctor`. */
export const addDoctor: AddCommand = (program, act) => {
  program
    .command('doctor')
    .description('Says whether the demo can run on this machine, and what to do if it cannot.')
    .action(act(runDoctor))
}

/** With `-o json` the result is `{schema, ok, checks: [{name, status, detail, fix?}]}`. */
async function runDoctor(_options: object, context: CommandContext): Promise<number> {
  const { signal, progress, result } = context
  const { doctor, renderReport } = await import('../doctor.ts')
  const report = await doctor({ signal, onProgress: progress })
  result('mycelium.doctor/1', report, () => renderReport(report))
  return report.ok ? EXIT_OK : EXIT_NOT_READY
}
