import { InvalidArgumentError, Option } from 'commander'
import { EXIT_FAILED, EXIT_OK } from '../constants.ts'
import type { AddCommand, CommandContext } from '../context.ts'
import { integer } from './integer.ts'
import { type NetworkDrillInit, NODES_MAX, NODES_MIN } from '../drill/options.ts'
import { renderNetworkReport } from '../drill/report.ts'

/** Adds `mycelium drill`. */
export const addDrill: AddCommand = (program, act) => {
  const drill = program
    .command('drill')
    .description('Breaks things on purpose, and proves that they heal.')
  drill
    .command('network')
    .description('Forms a network of daemons on this machine, attacks it, and kills some of it.')
    .option('--nodes <count>', 'how many', integer(NODES_MIN, NODES_MAX), 5)
    .addOption(
      new Option('--slack <factor>', 'by which what is promised is stretched')
        .argParser(factor)
        .default(1)
        .hideHelp(),
    )
    .action(act(network))
}

/** With `-o json` the result is a {@link NetworkReport} with its schema. */
async function network(init: NetworkDrillInit, context: CommandContext): Promise<number> {
  const { drillNetwork } = await import('../drill/network.ts')
  const report = await drillNetwork(init, context)
  context.result('mycelium.drill.network/1', report, () => renderNetworkReport(report))
  return report.ok ? EXIT_OK : EXIT_FAILED
}

function factor(text: string): number {
  const value = Number(text)
  if (value >= 0 && value <= 100) return value
  throw new InvalidArgumentError('It must be a number from 0 to 100.')
}
