import { Option } from 'commander'
import type { AddCommand, CommandContext } from '../context.ts'
import type { DemoOptions } from '../demo/options.ts'
import { integer } from './integer.ts'

/** Adds `mycelium demo`. */
export const addDemo: AddCommand = (program, act) => {
  program
    .command('demo')
    .description('Boots a guest, kills its host with SIGKILL, and shows it running on elsewhere.')
    .option('--memory <MiB>', "the guest's memory, 72 or more", integer(72), 256)
    .option('--interval <ms>', 'from one checkpoint to the next', integer(10, 60_000), 100)
    .option(
      '--load <pages>',
      'pages of 4 KiB that the guest writes per checkpoint, at most its working set',
      integer(0),
      2000,
    )
    .option('--working-set <MiB>', 'memory over which the guest spreads them', integer(1), 64)
    .option('--seconds <count>', 'of replication before each kill', integer(1, 86_400), 3)
    .option('--kills <count>', 'how often the active host dies', integer(0, 1_000), 2)
    .option('--seed <number>', "of the guest's writes and the moments of the kills", integer(0), 1)
    .option('--log <file>', 'everything that the hosts tell, as lines of JSON')
    .addOption(
      new Option(
        '--tier <name>',
        'how dirty pages are found (default: the best that works); doctor says which work here',
      ).choices(['async', 'sync', 'hash', 'shadow']),
    )
    .addOption(
      new Option('--corrupt <tick>', 'when the guest damages a page of its own')
        .argParser(integer(1))
        .hideHelp(),
    )
    .addOption(
      new Option('--compression <name>', 'of pages on their way')
        .choices(['none', 'lz4', 'zstd'])
        .default('none'),
    )
    .action(act(demo))
}

async function demo(options: DemoOptions, context: CommandContext): Promise<number> {
  const { runDemo } = await import('../demo.ts')
  return await runDemo(options, context)
}
