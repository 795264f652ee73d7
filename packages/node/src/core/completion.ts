/** Scripts by which shells complete the words of the command line. Pure. */

export type Shell = 'bash' | 'zsh' | 'fish'

export interface CommandTree {
  readonly name: string
  readonly summary: string
  /** Long ones, with their dashes. */
  readonly options: readonly string[]
  readonly commands: readonly CommandTree[]
}

/** @param names - of the program: it has an alias */
export function renderCompletion(
  shell: Shell,
  tree: CommandTree,
  names: readonly string[],
): string {
  switch (shell) {
    case 'bash':
      return bash(tree, names)
    case 'zsh':
      return `autoload -U +X bashcompinit && bashcompinit\n${bash(tree, names)}`
    case 'fish':
      return fish(tree, names)
  }
}

/** One line for each place: the words before, and what can follow. */
function places(
  tree: CommandTree,
  path: readonly string[] = [],
  inherited: readonly string[] = [],
): { readonly path: string; readonly words: readonly string[] }[] {
  const options = [...new Set([...inherited, ...tree.options])]
  const words = [...tree.commands.map(({ name }) => name), ...options]
  const below = tree.commands.flatMap((one) => places(one, [...path, one.name], options))
  return [{ path: path.join(' '), words }, ...below]
}

function bash(tree: CommandTree, names: readonly string[]): string {
  const cases = places(tree).map(
    ({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`,
  )
  return `_mycelium() {
  local path='' word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in
      -*) ;;
      *) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
    *) words='' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _mycelium ${names.join(' ')}
`
}

function fish(tree: CommandTree, names: readonly string[]): string {
  const lines = names.flatMap((program) => [
    ...tree.commands.map(
      ({ name, summary }) =>
        `complete -c ${program} -n __fish_use_subcommand -f -a ${name} -d '${inQuotes(summary)}'`,
    ),
    ...tree.options.map((option) => `complete -c ${program} -l ${option.slice('--'.length)}`),
    ...tree.commands.flatMap((one) => fishOf(program, one)),
  ])
  return `${lines.join('\n')}\n`
}

function fishOf(program: string, { name, options, commands }: CommandTree): string[] {
  const within = `-n '__fish_seen_subcommand_from ${name}'`
  return [
    ...commands.map(
      (one) => `complete -c ${program} ${within} -f -a ${one.name} -d '${inQuotes(one.summary)}'`,
    ),
    ...[...new Set([...options, ...commands.flatMap((one) => one.options)])].map(
      (option) => `complete -c ${program} ${within} -l ${option.slice('--'.length)}`,
    ),
  ]
}

function inQuotes(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
}
