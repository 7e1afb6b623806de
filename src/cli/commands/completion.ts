import type { Command } from 'commander';
import { addLeaf, type Runner } from '../leaf.js';

/** Completion scripts for shells, made from the tree of commands itself, so that they cannot fall behind it. */
export function completionCommands(program: Command, runner: Runner): void {
  const parent = program
    .command('completion')
    .summary('completion script for a shell')
    .description('Prints a script that completes dog commands and options with the Tab key.');
  const shells = {
    bash: { script: bash, example: 'dog completion bash > /etc/bash_completion.d/dog' },
    zsh: { script: zsh, example: 'dog completion zsh > ~/.zfunc/_dog' },
    fish: { script: fish, example: 'dog completion fish > ~/.config/fish/completions/dog.fish' },
  };
  for (const [shell, { script, example }] of Object.entries(shells)) {
    addLeaf(parent, runner, {
      usage: shell,
      summary: `for ${shell}`,
      examples: [example],
      run: (context) => context.print(script(collect(program))),
    });
  }
}

interface Node {
  /** Words before this one, joined by a blank: '' for dog itself, 'vdi', 'vdi object'. */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly summary: string }[];
  readonly options: readonly { readonly flag: string; readonly summary: string }[];
}

function collect(program: Command): Node[] {
  const nodes: Node[] = [];
  const visit = (command: Command, path: string): void => {
    const words = command.commands.map((child) => ({ word: child.name(), summary: child.summary() }));
    const options = [...command.options, ...(path === '' ? [] : program.options)].flatMap((option) =>
      [option.short, option.long]
        .filter((flag) => flag !== undefined && flag !== null)
        .map((flag) => ({ flag: flag as string, summary: option.description })),
    );
    nodes.push({ path, words, options: [...options, { flag: '--help', summary: 'help with examples' }] });
    for (const child of command.commands)
      visit(child, path === '' ? child.name() : `${path} ${child.name()}`);
  };
  visit(program, '');
  return nodes;
}

function bash(nodes: readonly Node[]): string {
  const cases = nodes.map(({ path, words, options }) => {
    const all = [...words.map(({ word }) => word), ...options.map(({ flag }) => flag)].join(' ');
    return `    '${path}') words='${all}' ;;`;
  });
  return `# bash completion for dog
_dog() {
  local path='' word words='' index
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=\${COMP_WORDS[index]}
    case " ${nodes
      .filter(({ path }) => path !== '')
      .map(({ path }) => path.replaceAll(' ', '/'))
      .join(' ')} " in
      *" \${path:+\${path// //}/}$word "*) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _dog dog collie
`;
}

function zsh(nodes: readonly Node[]): string {
  return `#compdef dog collie
# Uses the bash completion through zsh's own bridge.
autoload -U +X bashcompinit && bashcompinit
${bash(nodes)}`;
}

function fish(nodes: readonly Node[]): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines: string[] = [];
  for (const { path, words, options } of nodes) {
    const parts = path === '' ? [] : path.split(' ');
    const seen = parts.map((part) => `__fish_seen_subcommand_from ${part}`);
    const names = words.map(({ word }) => word).join(' ');
    const none = names === '' ? [] : [`not __fish_seen_subcommand_from ${names}`];
    const condition = quote([...seen, ...none].join('; and ') || 'true');
    for (const { word, summary } of words) {
      lines.push(`complete -c dog -n ${condition} -f -a ${word} -d ${quote(summary)}`);
    }
    for (const { flag, summary } of options) {
      const name = flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`;
      lines.push(`complete -c dog -n ${condition} ${name} -d ${quote(summary)}`);
    }
  }
  return `# fish completion for dog\n${lines.join('\n')}\n`;
}
