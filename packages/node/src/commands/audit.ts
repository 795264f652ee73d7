import { carryOut } from '../carry-out.ts'
import { EXIT_FAILED, EXIT_OK } from '../constants.ts'
import type { AddCommand } from '../context.ts'
import { renderTable } from '../table.ts'
import { integer } from './integer.ts'
import { addNodeOptions, type NodeOptions, pathsOf } from './node-options.ts'

interface ShowOptions extends NodeOptions {
  readonly last: number
}

/** Adds `mycelium audit show|verify`. */
export const addAudit: AddCommand = (program, act) => {
  const audit = program.command('audit').description('What happened on this node.')
  addNodeOptions(
    audit
      .command('show')
      .description('Shows the newest entries of the audit log.')
      .option('--last <count>', 'how many', integer(1, 10_000), 100),
  ).action(
    act(async ({ last, ...options }: ShowOptions, { signal, result }) => {
      const { entries } = await carryOut(
        'audit.show',
        { last },
        { paths: pathsOf(options), signal },
      )
      result('mycelium.audit.show/1', { entries }, () =>
        renderTable(
          ['NUMBER', 'TIME', 'COUNT', 'EVENT', 'NODE', 'ADDRESS', 'REASON'],
          entries.map(({ number, at, count = 1, event, node = '', address = '', reason = '' }) => [
            String(number),
            new Date(at).toISOString(),
            String(count),
            event,
            node,
            address,
            reason,
          ]),
        ),
      )
      return EXIT_OK
    }),
  )
  addNodeOptions(
    audit.command('verify').description('Proves that nothing was changed in the audit log.'),
  ).action(
    act(async (options: NodeOptions, { signal, result }) => {
      const verdict = await carryOut('audit.verify', {}, { paths: pathsOf(options), signal })
      result('mycelium.audit.verify/1', verdict, () => [verdict.message])
      return verdict.ok ? EXIT_OK : EXIT_FAILED
    }),
  )
}
