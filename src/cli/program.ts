import { Command, CommanderError } from 'commander';
import { allParts, catalog, type Part, partsNamed } from './catalog.js';
import { Context, type GlobalOptions, type Io } from './context.js';
import { exitCodes, exitOf } from './exit.js';
import type { Run, Runner } from './leaf.js';
import { isBrokenPipe } from './output.js';

/** The whole of `dog`: the tree of commands, and how a command ends. Nothing here touches the process. */

export const version = '0.1.0';

const afterHelp = `
First steps:
  dog cluster up                 start a cluster on this machine
  dog vdi create first 4G        create a volume
  qemu-img info nbd://127.0.0.1:10809/first
  dog doctor                     what is wrong, what is at risk, what to do next
  dog COMMAND SUBCOMMAND --help  what a command does, with examples

Environment: SHEEPDOG_DOG_ADDR and SHEEPDOG_DOG_PORT replace the defaults of -a and -p; SHEEPFOLD_HOME that of --dir.
SHEEPFOLD_DOG_COMPAT=libvirt makes 'vdi list -r' list what old libvirt can read.
Exit codes: 0 done, 1 failed, 2 cluster not reachable or system failure, 3 exists, 4 full, 5 missing, 64 wrong usage.`;

/**
 * Builds the tree of commands, of these parts; `runner` is called for each leaf. A tree of some parts has all groups,
 * so whatever it accepts means the same in the whole one.
 */
export async function buildProgram(runner: Runner, parts: ReadonlySet<Part> = allParts()): Promise<Command> {
  const program = new Command('dog')
    .description('Administers a Sheepfold cluster: replicated volumes for virtual machines.')
    .version(version, '--version', 'print the version')
    .option('-a, --address <host>', 'the sheep to talk to (default: 127.0.0.1)')
    .option('-p, --port <port>', 'its port (default: 7000)')
    .option('-r, --raw', 'raw output: no headings, single spaces, bytes, seconds')
    .option('-v, --verbose', 'print more')
    .option('-T, --time', 'print the elapsed time at the end')
    .option('--json', 'print JSON, with exact numbers')
    .helpOption('-h, --help', 'what this command does, with examples')
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', afterHelp);
  program.helpCommand('help [command]', 'what a command does');
  for (const group of catalog) {
    const { name, summary, description } = group;
    const parent = name === '' ? program : program.command(name).summary(summary).description(description);
    for (const part of group.parts) if (parts.has(part)) (await part.load())(parent, runner);
  }
  return program;
}

/** Runs one command line (without the program's name) and returns its exit code. Never throws. */
export async function runDog(argv: readonly string[], io: Io): Promise<number> {
  const startMs = performance.now();
  let context: Context | undefined;
  try {
    const { run, globals } = await choose(argv, io);
    context = new Context(io, globals);
    await run(context);
    if (globals.time)
      io.stdout.write(`\nElapsed time: ${((performance.now() - startMs) / 1000).toFixed(3)} seconds\n`);
    return exitCodes.ok;
  } catch (error) {
    return fail(error, io);
  } finally {
    context?.close();
  }
}

/** What a command line asks for. */
interface Choice {
  readonly globals: GlobalOptions;
  readonly run: (context: Context) => Promise<void>;
}

/**
 * Throws what commander throws: a CommanderError, after help was printed too. The parts that the line names are tried
 * first. Unless they understand it, every part is asked: help lists all commands, and what is wrong with a line is said
 * with all of them in mind.
 */
async function choose(argv: readonly string[], io: Io): Promise<Choice> {
  const held: string[] = [];
  const hold = { stdout: { write: (text: string) => held.push(text) }, stderr: { write: () => {} } };
  try {
    const choice = await parse(argv, partsNamed(argv), hold);
    if (choice !== undefined) return choice;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.version') {
      io.stdout.write(held.join(''));
      throw error;
    }
  }
  // `dog` alone explains itself, as the original does; it is not an error.
  const choice = await parse(argv.length === 0 ? ['--help'] : argv, allParts(), io);
  return choice ?? { globals: {}, run: async () => {} };
}

/** Undefined: the line is fine and names no command. */
async function parse(
  argv: readonly string[],
  parts: ReadonlySet<Part>,
  printers: Printers,
): Promise<Choice | undefined> {
  let choice: Choice | undefined;
  const program = await buildProgram(<O>(command: Command, run: Run<O>) => {
    command.action(() => {
      choice = {
        globals: command.optsWithGlobals() as GlobalOptions,
        run: (context) => run(context, command.args, command.opts() as O),
      };
    });
  }, parts);
  captureOutput(program, printers);
  await program.parseAsync([...argv], { from: 'user' });
  return choice;
}

function fail(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return failUsage(error, io);
  if (isBrokenPipe(error)) return exitCodes.brokenPipe;
  const exit = exitOf(error);
  if (exit.message !== '') io.stderr.write(`${exit.message}\n`);
  if (exit.hint !== undefined && (io.stderrIsTerminal || !exit.quietHint)) io.stderr.write(`${exit.hint}\n`);
  return exit.exit;
}

function failUsage(error: CommanderError, io: Io): number {
  if (error.exitCode === 0) return exitCodes.ok;
  // A group without a subcommand has printed its help already.
  if (error.code !== 'commander.help') io.stderr.write(`${usageText(error)}\n`);
  return exitCodes.usage;
}

/** commander's complaints in the words of getopt, which the original used. */
function usageText(error: CommanderError): string {
  const message = error.message.replace(/^error: /, '');
  const quoted = /'([^']*)'/.exec(message)?.[1] ?? '';
  const suggestion = /\(Did you mean .*\)/.exec(message)?.[0];
  const more = suggestion === undefined ? '' : `\n${suggestion}`;
  switch (error.code) {
    case 'commander.unknownOption':
      return `dog: ${optionText(quoted)}${more}\nTry 'dog --help' for more information.`;
    case 'commander.optionMissingArgument': {
      const name = /^-(\w)/.exec(quoted)?.[1] ?? quoted;
      return `dog: option requires an argument -- '${name}'\nTry 'dog --help' for more information.`;
    }
    case 'commander.unknownCommand':
      return `Invalid command '${quoted}'${more}\nTry 'dog --help' for the commands there are.`;
    case 'commander.missingArgument':
      return `dog: ${message}\nTry the command with --help for examples.`;
    default:
      return `dog: ${message}\nTry 'dog --help' for more information.`;
  }
}

function optionText(option: string): string {
  return option.startsWith('--')
    ? `unrecognized option '${option}'`
    : `invalid option -- '${option.slice(1)}'`;
}

interface Printers {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** commander must neither end the process nor print by itself. */
function captureOutput(command: Command, printers: Printers): void {
  command.exitOverride();
  command.configureOutput({
    writeOut: (text) => void printers.stdout.write(text),
    writeErr: (text) => void printers.stderr.write(text),
    outputError: () => {},
  });
  for (const child of command.commands) captureOutput(child, printers);
}
